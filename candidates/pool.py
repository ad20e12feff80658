"""Merge the sources' proposals into one pool that remembers, for every item, each source that proposed it."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import compress

import numpy as np
from numpy.typing import NDArray

from candidates.proposals import Proposal


@dataclass(frozen=True)
class Pool:
    """n distinct items that S sources proposed, whatever the order in which the sources were asked.

    Attributes:
        items: int32 [n], item positions, ascending.
        names: the S sources' names, sorted.
        proposed: bool [n, S], who proposed what.
        best_rank: int32 [n], the item's best place over the sources; 0 is a source's first.
    """

    items: NDArray[np.int32]
    names: tuple[str, ...]
    proposed: NDArray[np.bool_]
    best_rank: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.items)

    def sources_of(self, rows: NDArray[np.int64]) -> list[tuple[str, ...]]:
        """The names of the sources that proposed the item of each row."""
        return [tuple(compress(self.names, one)) for one in self.proposed[rows].tolist()]

    def own_order(self) -> NDArray[np.int64]:
        """int64 [n]: rows by the sources' own order.

        Every source's first items come first, then every source's second, and so on; within a place by item position.
        """
        return np.lexsort((self.items, self.best_rank))


EMPTY_POOL = Pool(np.empty(0, np.int32), (), np.empty((0, 0), np.bool_), np.empty(0, np.int32))


def pool_proposals(proposals: Mapping[str, Proposal]) -> Pool:
    """The union of the proposals."""
    names = tuple(sorted(proposals))
    lengths = [len(proposals[name].items) for name in names]
    if not sum(lengths):
        return EMPTY_POOL
    together = np.concatenate([proposals[name].items for name in names])
    source = np.repeat(np.arange(len(names)), lengths)
    rank = np.concatenate([np.arange(length, dtype=np.int32) for length in lengths])
    items, row = np.unique(together, return_inverse=True)
    proposed = np.zeros((len(items), len(names)), np.bool_)
    proposed[row, source] = True
    best_rank = np.full(len(items), np.iinfo(np.int32).max, np.int32)
    np.minimum.at(best_rank, row, rank)
    return Pool(items.astype(np.int32, copy=False), names, proposed, best_rank)
