"""What every source's training is handed: what stage one learns from, computed once."""

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from candidates.behaviour import Behaviour
from candidates.config import CandidatesConfig
from candidates.encoder import CountryItems
from candidates.evaluation import HeldOut
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


def validation_and_test(requests: list[HeldOut], seed: int) -> tuple[list[HeldOut], list[HeldOut]]:
    """The requests of users kept out, halved by their users at random: the halves share none."""
    users = sorted({one.request.user_id for one in requests})
    chosen = set(np.random.default_rng(seed).permutation(np.array(users, object))[: len(users) // 2].tolist())
    validation = [one for one in requests if one.request.user_id in chosen]
    return validation, [one for one in requests if one.request.user_id not in chosen]


class Stopwatch:
    """Seconds between one stop and the next, by stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def stop(self, stage: str) -> None:
        now = time.perf_counter()
        self.seconds[stage] = self.seconds.get(stage, 0.0) + now - self._last
        self._last = now
