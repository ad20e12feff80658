"""Which items are like one: a question of a single stage."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from candidates.retrieval.similar import Similar, SimilarItems
from gateway.banner.stages import Progress, Stage, State

SIMILAR = "similar"


@dataclass
class Comparing(State):
    """The question for at most k items like the one at `position`, none of `exclude`; and the answer, once there."""

    position: int
    country: str
    k: int
    exclude: NDArray[np.int32]
    found: Similar | None = None


class FindSimilar(Stage[Comparing]):
    """Ask the bundle's vectors."""

    name = SIMILAR

    def __init__(self, similar: SimilarItems, limit: float) -> None:
        self._similar, self.limit = similar, limit

    def run(self, progress: Progress[Comparing]) -> Comparing:
        asked = progress.state.copied()
        asked.found = self._similar.find(asked.position, asked.country, asked.k, asked.exclude)
        return asked
