"""iALS (also called WMF): matrix factorisation with confidence weights, through the `implicit` library."""

from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy.sparse import csr_matrix

from candidates.errors import CandidatesError
from candidates.models.model import UserItemModel
from candidates.protocols.splits import HeldOutUsers
from data.console import progress_bar
from data.settings import AtLeastZero, Count, Positive, Seed, Settings


class IalsConfig(Settings):
    """factors: dimension. alpha: confidence of an item taken (1: of others). l2: penalty. threads: 0 for all cores."""

    factors: Count = 256
    alpha: Positive = 5.0
    l2: AtLeastZero = 50.0
    iterations: Count = 15
    threads: Annotated[int, Field(ge=0)] = 0
    seed: Seed = 0


class Ials(UserItemModel):
    """Scores U V^T (Hu, Koren and Volinsky 2008). `item_factors`: V, float32 [items, factors].

    A user's row of U is solved anew, exactly, from what the model is told of them with V fixed (equation 4), so users
    it was not fitted on are answered like those it was.
    """

    title = "iALS"
    config_type = IalsConfig

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

    def _item_vectors(self) -> NDArray[np.float32]:
        return self.item_factors

    def _state(self) -> dict[str, NDArray]:
        return {"item_factors": self.item_factors}

    def _restore(self, arrays: dict[str, NDArray]) -> None:
        self._model = self._new_model()
        self._model.item_factors = self.item_factors = arrays["item_factors"]

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
