"""What every source's training is handed: what stage one learns from, computed once."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from candidates.behaviour import Behaviour
from candidates.config import CandidatesConfig
from candidates.encoder import CountryItems
from candidates.evaluation import HeldOut
from candidates.gbo import GlobalBestOf
from data.items import ItemTable


@dataclass(frozen=True)
class CountryTraining:
    """One country: the items its users took, and their vectors.

    Attributes:
        vectors: float32 [R, d], from PMI and SVD; zero where an item never met another.
        validation: held-out requests of this country, to choose models by.
    """

    country: str
    items: CountryItems
    vectors: NDArray[np.float32]
    validation: list[HeldOut]


@dataclass(frozen=True)
class TrainingSet:
    """The users trained on.

    Attributes:
        behaviour: what they did.
        popularity: float32 [I], distinct users per item.
        countries: those with a model of their own, the largest first.
        seed: of everything random.
        checkpoints: a folder for checkpoints of long trainings; None: none are kept.
    """

    items: ItemTable
    behaviour: Behaviour
    popularity: NDArray[np.float32]
    countries: list[CountryTraining]
    config: CandidatesConfig
    seed: int
    checkpoints: Path | None = None

    def best_of(self) -> GlobalBestOf:
        return GlobalBestOf.of(self.popularity, self.items)
