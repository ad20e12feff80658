"""What events say of new items: how many users took each, and what else those users took."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from candidates.behaviour import distinct_pairs
from candidates.cold_start.catalog_diff import CatalogDiff
from data.timelines import Timelines


@dataclass(frozen=True)
class Evidence:
    """Of the users of one country, or of all.

    Attributes:
        taken: binary csr [U, I], the newest distinct items of each user, in positions of after.
        shared: csr [A, I], users who took new item a and item i; an item is not its own companion.
        users: int64 [A], users who took the new item.
    """

    taken: sparse.csr_array
    shared: sparse.csr_array
    users: NDArray[np.int64]

    @classmethod
    def of(cls, timelines: Timelines, users: NDArray[np.int64], diff: CatalogDiff, limit: int) -> "Evidence":
        """From the newest `limit` distinct items of some users (positions in `timelines`)."""
        items = len(diff.after)
        user, item, _ = distinct_pairs(timelines, users, items)
        ends = np.searchsorted(user, np.arange(len(users)), side="right")
        newest = ends[user] - np.arange(len(user)) <= limit
        user, item = user[newest], item[newest]
        taken = sparse.csr_array((np.ones(len(user), np.float32), (user, item)), shape=(len(users), items))
        of_new = sparse.csr_array(taken[:, diff.added])
        shared = sparse.coo_array(of_new.T @ taken)
        other = diff.added[shared.coords[0]] != shared.coords[1]
        shape, coords = shared.shape, (shared.coords[0][other], shared.coords[1][other])
        return cls(
            taken=taken,
            shared=sparse.csr_array((shared.data[other], coords), shape=shape),
            users=np.asarray(of_new.sum(axis=0)).astype(np.int64).ravel(),
        )

    def popularity_scale(self, diff: CatalogDiff, scores: NDArray[np.float32]) -> float:
        """How many users of all training stand behind one user here: the old items' distinct users there per user here.

        The events given with new items are mostly of a short time, and a count of days cannot stand beside one of
        months. At least 1; and 1 where fewer than 100 pairs of user and old item are there to tell.

        Args:
            scores: float32 [I], distinct users per old item, in positions of before.
        """
        here = np.asarray(self.taken[:, diff.moved].sum(axis=0)).ravel()
        seen = here > 0
        if here.sum() < _ENOUGH_PAIRS:
            return 1.0
        return max(1.0, float(scores[seen].sum() / here.sum()))


_ENOUGH_PAIRS = 100
