"""The items of a merchant that a country's model does not know: they complete a proposal that would be too short.

Nobody of the country took them, so nothing personal can be said of them; but they are for sale, and a banner with
fewer items than slots helps nobody. Those that other countries' users took stand first.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from candidates.best_of.gbo import GlobalBestOf, first_allowed, keep_mask
from candidates.encoder import CountryItems
from candidates.proposals import Proposal
from data.ids import load_array
from data.request import Allowed


@dataclass(frozen=True)
class UnknownItems:
    """
    Attributes:
        order: int32 [N], available items by merchant, in the order of the global best-of.
        offsets: int64 [M + 1]; merchant m owns order[offsets[m]] .. order[offsets[m + 1] - 1].
    """

    order: NDArray[np.int32]
    offsets: NDArray[np.int64]

    @classmethod
    def of(cls, known: CountryItems, best_of: GlobalBestOf) -> "UnknownItems":
        unknown = np.asarray(known.rows)[best_of.order] < 0
        before = np.concatenate([[0], np.cumsum(unknown)]).astype(np.int64)
        return cls(best_of.order[unknown], before[best_of.offsets])

    def completed(
        self, found: Proposal, merchant: int, k: int, excluded: NDArray[np.int32], allowed: Allowed | None = None
    ) -> Proposal:
        """`found` and, behind it, as many of the merchant's unknown items as make k; of those that pass a filter, if
        there is one.

        They score 0, what an item without vector and bias scores, or as little as the last found one.
        """
        missing = k - len(found)
        if missing < 1 or not 0 <= merchant < len(self.offsets) - 1:
            return found
        start, end = int(self.offsets[merchant]), int(self.offsets[merchant + 1])
        if start == end:
            return found
        wanted = missing + len(excluded)
        own = self.order[start:end]
        rest = own[:wanted] if allowed is None else first_allowed(own, wanted, allowed)
        rest = rest[keep_mask(rest, excluded)][:missing]
        least = np.minimum(found.scores[-1:].min(initial=0), 0).astype(np.float32)
        return Proposal(
            np.concatenate([found.items, rest]), np.concatenate([found.scores, np.full(len(rest), least, np.float32)])
        )

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        np.save(folder / "unknown_order.npy", self.order)
        np.save(folder / "unknown_offsets.npy", self.offsets)

    @classmethod
    def load(cls, folder: Path) -> "UnknownItems":
        return cls(load_array(folder / "unknown_order.npy"), load_array(folder / "unknown_offsets.npy"))
