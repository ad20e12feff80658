"""The slots of a banner: the best items of the pool, by the ranker, by the sources' own order, or by both."""

import os
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
from gateway.banner.ruling import BannerRules
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
        rules: what rules did, in words. policy: how the slots were drawn; "": they were not.
        propensities: the probability of each slot's item, given those before; empty if nothing was drawn.
        seed: hexadecimal, of what is drawn; it becomes the display's id. "": none was needed yet.
    """

    slot_count: int = 0
    pool: Pool = EMPTY_POOL
    slots: tuple[Slot, ...] = ()
    shown: NDArray[np.int64] = field(default_factory=lambda: _NO_ROWS)
    rules: tuple[str, ...] = ()
    policy: str = ""
    propensities: tuple[float, ...] = ()
    seed: str = ""


class Restrict(Stage[Filling]):
    """Leave out what the population's rules leave out, before the sources propose."""

    name = "rules"
    bounded = True

    def __init__(self, rules: BannerRules) -> None:
        self._rules = rules

    def run(self, progress: Progress[Filling]) -> Filling:
        state = progress.state.copied()
        state.request, notes = self._rules.restricted(state.request, state.seen)
        state.rules = (*state.rules, *notes)
        return state


class Merge(Stage[Filling]):
    """Merge the proposals into one pool. Where there are none, as when no source came in time, the backstop proposes:
    nobody's banner is empty at a merchant that has items."""

    name = "pool"
    optional, bounded = False, True

    def __init__(self, order: MergeOrder, backstop: CandidateSource | None, rules: BannerRules | None = None) -> None:
        self._order, self._rules = order, rules
        self._backstop = backstop if getattr(backstop, "bounded", False) else None

    def run(self, progress: Progress[Filling]) -> Filling:
        state, backstop = progress.state.copied(), self._backstop
        if backstop is not None and not any(len(one) for one in state.proposals.values()):
            state.proposals = {backstop.name: backstop.propose(state.request, state.per_source)}
        state.pool = pool_proposals(state.proposals, self._order)
        if self._rules is not None:
            state.pool = self._rules.completed(state.pool, state.request, state.slot_count)
        if state.request.allowed is not None and state.request.allowed.asked:
            allowed = state.request.allowed
            state.rules = (*state.rules, f"filter: {len(allowed.items)} of {len(allowed.mask)} items pass")
        state.items = state.pool.items
        return state


class Fill(Stage[Filling]):
    """Take the best of the pool, or what rules choose. Ties are broken by item position."""

    name = "fill"
    optional, bounded = False, True

    def __init__(self, items: ItemBytes, ranker_share: float, rules: BannerRules | None = None, note: str = "") -> None:
        """
        Args:
            ranker_share: of the order; 1: the ranker's alone (`data.ranks.blended`).
            note: stands among what rules did.
        """
        self._items, self._share, self._rules, self._note = items, ranker_share, rules, note

    def run(self, progress: Progress[Filling]) -> Filling:
        state, named = progress.state.copied(), self._items.named
        pool, scores = state.pool, state.scores
        if self._rules is not None:
            rows = self._ruled(state, self._rules)
        elif scores is None:
            rows = pool.own_order()[: state.slot_count]
        else:
            rows = self._order(pool, scores)[: state.slot_count]
        values = (pool.merit if scores is None else scores)[rows].tolist()
        found = zip(pool.items[rows].tolist(), pool.sources_of(rows), values, strict=True)
        state.slots = tuple(
            Slot(place, item, *named(item), sources, score) for place, (item, sources, score) in enumerate(found)
        )
        state.shown = rows
        if self._note:
            state.rules = (*state.rules, self._note)
        return state

    def _ruled(self, state: Filling, rules: BannerRules) -> NDArray[np.int64]:
        """The rows that rules choose; what they did is noted in the state, which is changed."""
        pool, scores = state.pool, state.scores
        if rules.draws and not state.seed:
            state.seed = os.urandom(16).hex()
        order = pool.own_order() if scores is None else self._order(pool, scores)
        strength = strength_of(pool, scores, self._share)
        found = rules.chosen(pool, order, strength, state.request, state.slot_count, state.seed)
        state.rules, state.policy, state.propensities = (*state.rules, *found.notes), found.policy, found.propensities
        return found.rows

    def _order(self, pool: Pool, scores: NDArray[np.float32]) -> NDArray[np.int64]:
        if self._share == 1 or not len(scores):
            return np.argsort(-scores, kind="stable")
        return np.argsort(-_blended(pool, scores, self._share), kind="stable")


_LEAST = 1e-9


def strength_of(pool: Pool, scores: NDArray[np.float32] | None, share: float) -> NDArray[np.float64]:
    """float64 [n], by row: what exploration draws by. The logit of the ranker's score, the logarithm of what blends it
    with the sources' order, or, where none ranks, that of the merit."""
    if scores is None:
        return np.log(np.maximum(pool.merit, _LEAST))
    return logit(scores) if share == 1 else np.log(_blended(pool, scores, share))


def _blended(pool: Pool, scores: NDArray[np.float32], share: float) -> NDArray[np.float64]:
    return blended(places(pool.own_order()), places(np.argsort(-scores, kind="stable")), share)


def logit(scores: NDArray[np.float32]) -> NDArray[np.float64]:
    """float64 [n], of probabilities; 0 and 1 count as a millionth away from it."""
    inside = np.clip(scores.astype(np.float64), 1e-6, 1 - 1e-6)
    return np.log(inside / (1 - inside))
