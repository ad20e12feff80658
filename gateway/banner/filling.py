"""The slots of a banner: the best items of the pool, by the ranker, by the sources' own order, or by both."""

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from candidates.merge_order import MergeOrder
from candidates.pool import EMPTY_POOL, Pool, pool_proposals
from candidates.proposals import CandidateSource
from data.ranks import blended, places
from gateway.banner.item_bytes import ItemBytes
from gateway.banner.proposing import Proposing
from gateway.banner.ranking import Ranking
from gateway.banner.stages import Progress, Stage

_NO_ROWS = np.empty(0, np.int64)


class Slot(NamedTuple):
    """One place of a banner. `score`: the ranker's probability; where none ranks, the merit of its places in the
    proposals (candidates/merge_order.py)."""

    position: int
    item: int
    item_id: str
    category: str
    sources: tuple[str, ...]
    score: float


@dataclass(kw_only=True)
class Filling(Proposing, Ranking):
    """A banner under way.

    Attributes:
        slot_count: places to fill.
        pool: of all proposals; `items` are its items.
        slots: best first; fewer than `slot_count` if the sources know no more items.
        shown: int64 [len(slots)], the slots' rows in the pool and in the features.
        display_id: of the log's record; "" if none was written.
    """

    slot_count: int = 0
    pool: Pool = EMPTY_POOL
    slots: tuple[Slot, ...] = ()
    shown: NDArray[np.int64] = field(default_factory=lambda: _NO_ROWS)
    display_id: str = ""


class Merge(Stage[Filling]):
    """Merge the proposals into one pool. Where there are none, as when no source came in time, the backstop proposes:
    nobody's banner is empty at a merchant that has items."""

    name = "pool"
    optional, bounded = False, True

    def __init__(self, order: MergeOrder, backstop: CandidateSource | None) -> None:
        self._order = order
        self._backstop = backstop if getattr(backstop, "bounded", False) else None

    def run(self, progress: Progress[Filling]) -> Filling:
        state, backstop = progress.state.copied(), self._backstop
        if backstop is not None and not any(len(one) for one in state.proposals.values()):
            state.proposals = {backstop.name: backstop.propose(state.request, state.per_source)}
        state.pool = pool_proposals(state.proposals, self._order)
        state.items = state.pool.items
        return state


class Fill(Stage[Filling]):
    """Take the best of the pool. Ties are broken by item position."""

    name = "fill"
    optional, bounded = False, True

    def __init__(self, items: ItemBytes, ranker_share: float) -> None:
        """`ranker_share`: of the order; 1: the ranker's alone (`data.ranks.blended`)."""
        self._items, self._share = items, ranker_share

    def run(self, progress: Progress[Filling]) -> Filling:
        state, named = progress.state.copied(), self._items.named
        pool, scores = state.pool, state.scores
        if scores is None:
            order = pool.own_order()[: state.slot_count]
            values = pool.merit[order].tolist()
        else:
            order = self._order(pool, scores)[: state.slot_count]
            values = scores[order].tolist()
        found = zip(pool.items[order].tolist(), pool.sources_of(order), values, strict=True)
        state.slots = tuple(
            Slot(place, item, *named(item), sources, score) for place, (item, sources, score) in enumerate(found)
        )
        state.shown = order
        return state

    def _order(self, pool: Pool, scores: NDArray[np.float32]) -> NDArray[np.int64]:
        ranked = np.argsort(-scores, kind="stable")
        if self._share == 1 or not len(ranked):
            return ranked
        merged = blended(places(pool.own_order()), places(ranked), self._share)
        return np.argsort(-merged, kind="stable")
