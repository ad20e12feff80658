"""LED as Tandem trains it by default: spectral item vectors, chosen on validation users, then fitted on everything."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from candidates.errors import CandidatesError
from candidates.led.validation_scorer import Judge
from candidates.matrices.spectral import Shrinkage, Spectrum, Weighting, decompose, item_vectors
from candidates.matrices.spectral_choice import Choice, SpectralGrid, choose, weightings
from candidates.models.model import UserItemModel
from candidates.protocols.metrics import VALIDATION
from candidates.protocols.splits import HeldOutUsers
from data.console import progress_bar

_USUAL = Choice(Weighting(0.4, 0.4), Shrinkage(0.02, 0.3, 100), float("nan"))
"""Without validation users: what was best on MovieLens-1M."""


@dataclass(frozen=True)
class LedConfig:
    """`dimension`: at most; the choice may take fewer. `choose_by_validation`: if not, the usual weighting stands."""

    dimension: int = 1_200
    choose_by_validation: bool = True
    threads: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.dimension, self.threads) < 1:
            raise CandidatesError(f"LED expects dimension >= 1 and threads >= 1, found {self}")


class Led(UserItemModel):
    """Scores the inner product of the history's summed input vectors with an item's output vector (`spectral`).

    A row without history is scored by popularity. `choice` says what validation chose.
    """

    title = "LED"
    config_type = LedConfig
    stops_early = True
    refits: ClassVar[bool] = True
    choice: Choice
    inputs: NDArray[np.float32]
    outputs: NDArray[np.float32]

    def __init__(self, config: LedConfig | None = None, grid: SpectralGrid | None = None) -> None:
        """`grid`: what validation chooses from."""
        self.config, self._grid = config or LedConfig(), grid or SpectralGrid()

    def _fit(self, user_items: csr_matrix, validation: HeldOutUsers | None, show_progress: bool) -> None:
        self.choice = _USUAL
        if validation is not None and self.config.choose_by_validation:
            self.choice = self._choice(user_items, validation, show_progress)
        self._refit(user_items)

    def _refit(self, user_items: csr_matrix) -> None:
        dimension = min(self.choice.shrinkage.dimension, self.config.dimension)
        spectrum = self._spectrum(user_items, self.choice.weighting, dimension)
        self.inputs, self.outputs = item_vectors(spectrum, self.choice.shrinkage)
        self._popularity = spectrum.users_of_item.astype(np.float32)

    def _choice(self, user_items: csr_matrix, validation: HeldOutUsers, show_progress: bool) -> Choice:
        judge = Judge(validation, VALIDATION, self.config.seed)
        grid = self._grid.within(self.config.dimension)
        with progress_bar("LED", len(weightings(grid)) + 1, shown=show_progress) as bar:
            return choose(
                grid,
                lambda weighting, dimension: self._spectrum(user_items, weighting, dimension),
                judge.quality,
                lambda note: bar.advance(note=note),
            )

    def _spectrum(self, user_items: csr_matrix, weighting: Weighting, dimension: int) -> Spectrum:
        return decompose(user_items, weighting, dimension, self.config.seed, self.config.threads)

    def _scores(self, user_items: csr_matrix) -> NDArray[np.float32]:
        scores = (user_items @ self.inputs) @ self.outputs.T
        scores[np.diff(user_items.indptr) == 0] = self._popularity
        return scores
