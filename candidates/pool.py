"""Merge the sources' proposals into one pool that remembers, for every item, each source that proposed it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import compress

import numpy as np
from numpy.typing import NDArray

from candidates.merge_order import ROUND_ROBIN, MergeOrder
from candidates.proposals import Proposal


@dataclass(frozen=True)
class Pool:
    """n distinct items that S sources proposed, whatever the order in which the sources were asked.

    Attributes:
        items: int32 [n], item positions, ascending.
        names: the S sources' names, sorted; behind them the names of rules that added items (`joined`).
        proposers: who proposed each of the n items: bit s for source s.
        merit: float64 [n], of the item's places in the proposals (`MergeRule`); more is better.
    """

    items: NDArray[np.int32]
    names: tuple[str, ...]
    proposers: tuple[int, ...]
    merit: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.items)

    def sources_of(self, rows: NDArray[np.int64]) -> list[tuple[str, ...]]:
        """The names of the sources that proposed the item of each row."""
        found: dict[int, tuple[str, ...]] = {}
        bits = [1 << place for place in range(len(self.names))]
        answer = []
        for row in rows.tolist():
            mask = self.proposers[row]
            if mask not in found:
                found[mask] = tuple(compress(self.names, [mask & bit for bit in bits]))
            answer.append(found[mask])
        return answer

    def joined(self, name: str, items: Sequence[int]) -> "Pool":
        """With items (positions) that no source had to propose: they have less merit than all others, in their order.
        Those that are in the pool already carry the name too."""
        bit, least = 1 << len(self.names), 1e-3 * float(self.merit.min(initial=1.0))
        found = dict(zip(self.items.tolist(), zip(self.proposers, self.merit.tolist(), strict=True), strict=True))
        for place, item in enumerate(items):
            proposers, merit = found.get(item, (0, least / (1 + place)))
            found[item] = (proposers | bit, merit)
        rows = sorted(found)
        return Pool(
            np.array(rows, np.int32),
            (*self.names, name),
            tuple([found[item][0] for item in rows]),
            np.array([found[item][1] for item in rows]),
        )

    def own_order(self) -> NDArray[np.int64]:
        """int64 [n]: rows by the sources' own order: by merit, the higher first, then by item position."""
        return np.argsort(-self.merit, kind="stable")


EMPTY_POOL = Pool(np.empty(0, np.int32), (), (), np.empty(0))


def pool_proposals(proposals: Mapping[str, Proposal], order: MergeOrder = ROUND_ROBIN) -> Pool:
    """The union of the proposals; `order` says what a place in one of them is worth.

    A dict: for the some sixty items of a request it takes a quarter of the time that arrays would.
    """
    names = tuple(sorted(proposals))
    rule = order.rule(names)
    best = rule.best
    merit: dict[int, float] = {}
    proposers: dict[int, int] = {}
    for place, name in enumerate(names):
        bit, items = 1 << place, proposals[name].items.tolist()
        for item, value in zip(items, rule.values(place, len(items)), strict=True):
            if item not in merit:
                merit[item], proposers[item] = value, bit
            else:
                merit[item] = max(merit[item], value) if best else merit[item] + value
                proposers[item] |= bit
    if not merit:
        return EMPTY_POOL
    items = sorted(merit)
    return Pool(
        np.array(items, np.int32),
        names,
        tuple([proposers[item] for item in items]),
        np.array([merit[item] for item in items]),
    )
