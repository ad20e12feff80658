"""The slots of a banner: the best items of the pool, by the ranker or, without it, by the sources' own order."""

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from candidates.pool import EMPTY_POOL, Pool, pool_proposals
from data.items import ItemTable
from gateway.banner.proposing import Proposing
from gateway.banner.ranking import Ranking
from gateway.banner.stages import Progress, Stage

_NO_ROWS = np.empty(0, np.int64)


class Slot(NamedTuple):
    """One place of a banner. `score`: the ranker's probability; 1 / (1 + best rank) where the ranker is missing."""

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
    """Merge the proposals into one pool."""

    name = "pool"
    optional = False

    def run(self, progress: Progress[Filling]) -> Filling:
        state = progress.state.copied()
        state.pool = pool_proposals(state.proposals)
        state.items = state.pool.items
        return state


class Fill(Stage[Filling]):
    """Take the best of the pool. Ties are broken by item position."""

    name = "fill"
    optional = False

    def __init__(self, items: ItemTable) -> None:
        self._items = items

    def run(self, progress: Progress[Filling]) -> Filling:
        state, table = progress.state.copied(), self._items
        pool, scores = state.pool, state.scores
        if scores is None:
            order = pool.own_order()[: state.slot_count]
            values = 1.0 / (1.0 + pool.best_rank[order])
        else:
            order = np.lexsort((pool.items, -scores))[: state.slot_count]
            values = scores[order]
        best = pool.items[order]
        id_of, category_of = table.items.id, table.categories.id
        found = zip(best.tolist(), table.category[best].tolist(), pool.sources_of(order), values.tolist(), strict=True)
        state.slots = tuple(
            Slot(place, item, id_of(item), category_of(category), sources, score)
            for place, (item, category, sources, score) in enumerate(found)
        )
        state.shown = order
        return state
