"""GBO, the global best-of: a merchant's items by how many distinct users took them (`statistics.popularity`): ever, in
a time window, or with weights that halve with age."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from candidates.proposals import NOTHING, Proposal
from data.ids import load_array
from data.items import ItemTable
from data.request import Allowed, Request

if TYPE_CHECKING:
    from candidates.cold_start.extension import Extension
    from candidates.training_set import TrainingSet

_ARRAYS = ("order", "offsets", "scores")


class GlobalBestOf:
    """Proposes the merchant's most popular items to everyone; items nobody took stand last, so every merchant answers.

    Args:
        order: int32 [A], the available items by merchant, most popular first, ties by position.
        offsets: int64 [M + 1]; merchant m owns order[offsets[m]] .. order[offsets[m + 1] - 1].
        scores: float32 [I], distinct users per item, or their sum of weights.
    """

    name = "gbo"
    bounded = True

    def __init__(self, order: NDArray[np.int32], offsets: NDArray[np.int64], scores: NDArray[np.float32]) -> None:
        self.order, self.offsets, self.scores = order, offsets, scores

    @classmethod
    def of(cls, scores: NDArray[np.float32], items: ItemTable) -> "GlobalBestOf":
        ranked = np.lexsort((np.arange(len(items)), -scores, items.merchant)).astype(np.int32)
        order = ranked[np.asarray(items.available)[ranked]]
        offsets = np.zeros(len(items.merchants) + 1, np.int64)
        np.cumsum(np.bincount(items.merchant[order], minlength=len(items.merchants)), out=offsets[1:])
        return cls(order, offsets, scores.astype(np.float32))

    def best(self, merchant: int, count: int, allowed: Allowed | None = None) -> NDArray[np.int32]:
        """The first `count` of the merchant's order; of those that pass a filter, if there is one."""
        if not 0 <= merchant < len(self.offsets) - 1:
            return NOTHING.items
        start, end = self.offsets[merchant : merchant + 2].tolist()
        if allowed is None:
            return self.order[start : min(end, start + count)]
        return first_allowed(self.order[start:end], count, allowed)

    def propose(self, request: Request, k: int) -> Proposal:
        if k < 1:
            return NOTHING
        best = self.best(request.merchant, k + len(request.exclude), request.allowed)
        if len(request.exclude):
            best = best[keep_mask(best, request.exclude)][:k]
        return Proposal(best, self.scores[best])

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for name in _ARRAYS:
            np.save(folder / f"{name}.npy", getattr(self, name))

    @classmethod
    def load(cls, folder: Path) -> "GlobalBestOf":
        return cls(*(load_array(folder / f"{name}.npy") for name in _ARRAYS))


def first_allowed(order: NDArray[np.int32], count: int, allowed: Allowed) -> NDArray[np.int32]:
    """int32 [<= count]: the first item positions of `order` [n] that pass a filter; as little of it is looked at as
    holds enough."""
    look = 64 + 2 * count * max(len(order), 1) // max(len(allowed.items), 1)
    while True:
        part = order[:look]
        found = part[allowed.passes(part)][:count]
        if len(found) == count or look >= len(order):
            return found
        look *= 4


def keep_mask(positions: NDArray[np.int32], excluded: NDArray[np.int32]) -> NDArray[np.bool_]:
    """bool [n]: which positions are not among the excluded ones."""
    if not len(excluded):
        return np.ones(len(positions), bool)
    ordered = np.sort(excluded)
    places = np.searchsorted(ordered, positions)
    return ordered[np.minimum(places, len(ordered) - 1)] != positions


def load(folder: Path, items: ItemTable) -> GlobalBestOf:
    return GlobalBestOf.load(folder / "gbo")


def train(training: "TrainingSet", folder: Path) -> dict[str, Any]:
    GlobalBestOf.of(training.popularity, training.items).save(folder / "gbo")
    return {}


def extend(old: Path, new: Path, extension: "Extension") -> dict[str, Any]:
    GlobalBestOf.of(extension.popularity, extension.diff.after).save(new / "gbo")
    return {}
