"""What every source's training is handed: the events in the shapes that stage one learns from, computed once."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from candidates.config import CandidatesConfig
from candidates.encoder import CountryItems
from candidates.evaluation import HeldOut
from candidates.gbo import GlobalBestOf
from data.items import ItemTable
from data.timelines import Timelines


@dataclass(frozen=True)
class CountryTraining:
    """One country: the items its users took, their vectors, and its users.

    Attributes:
        vectors: float32 [R, d], from PMI and SVD; zero where an item never met another.
        users: int [U], positions in `TrainingSet.timelines`.
        validation: held-out requests of this country, to choose models by.
    """

    country: str
    items: CountryItems
    vectors: NDArray[np.float32]
    users: NDArray[np.int64]
    validation: list[HeldOut]


@dataclass(frozen=True)
class TrainingSet:
    """Events of the users trained on.

    Attributes:
        popularity: float32 [I], distinct users per item.
        countries: those with a model of their own, the largest first.
        seed: of everything random.
        checkpoints: a folder for checkpoints of long trainings; None: none are kept.
    """

    items: ItemTable
    timelines: Timelines
    popularity: NDArray[np.float32]
    countries: list[CountryTraining]
    config: CandidatesConfig
    seed: int
    checkpoints: Path | None = None

    def best_of(self) -> GlobalBestOf:
        return GlobalBestOf.of(self.popularity, self.items)


def distinct_pairs(
    timelines: Timelines, users: NDArray[np.int64], items: int, limit: int | None = None
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int64]]:
    """The distinct (user, item) pairs of some users, each at its newest event, oldest first within a user.

    Args:
        limit: only a user's newest pairs.

    Returns:
        (user int64 [N], an index into `users`; item int32 [N]; row of the newest event int64 [N]).
    """
    index_of = np.full(len(timelines), -1, np.int64)
    index_of[users] = np.arange(len(users))
    of_event = index_of[timelines.user_of_event()]
    rows = np.flatnonzero(of_event >= 0)
    key = of_event[rows] * items + timelines.items[rows]
    _, newest = np.unique(key[::-1], return_index=True)
    rows = rows[np.sort(len(rows) - 1 - newest)]
    rows = rows[np.argsort(of_event[rows], kind="stable")]
    user = of_event[rows]
    if limit is not None:
        ends = np.searchsorted(user, np.arange(len(users)), side="right")
        kept = ends[user] - np.arange(len(user)) <= limit
        rows, user = rows[kept], user[kept]
    return user, timelines.items[rows], rows
