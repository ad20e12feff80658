"""iALS (also called WMF): matrix factorisation with confidence weights, through the `implicit` library."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from candidates.errors import CandidatesError
from candidates.models.model import UserItemModel
from candidates.protocols.splits import HeldOutUsers
from data.console import progress_bar


@dataclass(frozen=True)
class IalsConfig:
    """factors: dimension. alpha: confidence of an item taken (1: of others). l2: penalty. threads: 0 for all cores."""

    factors: int = 256
    alpha: float = 5.0
    l2: float = 50.0
    iterations: int = 15
    threads: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.factors, self.iterations) < 1 or not self.alpha > 0 or self.l2 < 0 or self.threads < 0:
            raise CandidatesError(
                f"iALS expects factors, iterations >= 1, alpha > 0, l2 >= 0 and threads >= 0, found {self}"
            )


class Ials(UserItemModel):
    """Scores U V^T (Hu, Koren and Volinsky 2008). `item_factors`: V, float32 [items, factors].

    A user's row of U is solved anew, exactly, from what the model is told of them with V fixed (equation 4), so users
    it was not fitted on are answered like those it was.
    """

    title = "iALS"

    def __init__(self, config: IalsConfig | None = None) -> None:
        self.config = config or IalsConfig()

    def _fit(self, user_items: csr_matrix, validation: HeldOutUsers | None, show_progress: bool) -> None:
        from implicit.recommender_base import ModelFitError
        from threadpoolctl import threadpool_limits

        with progress_bar("iALS", self.config.iterations, shown=show_progress) as bar, threadpool_limits(1, "blas"):
            # its own threads call BLAS: more BLAS threads beneath them only wait for each other
            self._model = self._new_model()
            try:
                self._model.fit(user_items, show_progress=False, callback=lambda *_: bar.advance())
            except ModelFitError as error:
                raise CandidatesError(f"iALS came to no solution with {self.config}: {error}") from error
        self.item_factors: NDArray[np.float32] = self._model.item_factors

    def _scores(self, user_items: csr_matrix) -> NDArray[np.float32]:
        from threadpoolctl import threadpool_limits

        with threadpool_limits(1, "blas"):
            users = self._model.recalculate_user(np.arange(user_items.shape[0]), user_items)
        return users @ self.item_factors.T

    def _new_model(self) -> Any:
        from implicit.cpu.als import AlternatingLeastSquares

        return AlternatingLeastSquares(
            factors=self.config.factors,
            regularization=self.config.l2,
            alpha=self.config.alpha,
            iterations=self.config.iterations,
            num_threads=self.config.threads,
            random_state=self.config.seed,
        )
