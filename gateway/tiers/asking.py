"""The stages that ask another tier, instead of those that compute here.

A tier that is away or late leaves a mark, and the banner is made without it: from the backstop, or in the sources' own
order. What a tier of another bundle says is used, as far as this bundle knows its items, and marked too.
"""

import logging
import time
from abc import abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import grpc
import numpy as np
from numpy.typing import NDArray

from candidates.proposals import Proposal
from data.ids import UNKNOWN
from data.items import ItemTable
from data.request import Allowed
from gateway.banner.awaited import Awaited
from gateway.banner.proposing import ProposingT
from gateway.banner.ranking import RANKER, Ranking
from gateway.banner.runtime import Runtime
from gateway.banner.stages import LeftOut, Progress, State
from gateway.tiers.contexts import context_of
from proto.tandem.v1 import tandem_pb2 as pb

Ask = Callable[..., Awaitable[Any]]
"""A method of a stub."""

CANDIDATES = "candidates"
"""The name of the stage that asks for all sources at once, in stage times and degraded marks."""

StateT = TypeVar("StateT", bound=State)

logger = logging.getLogger(__name__)

_REASONS = {
    grpc.StatusCode.DEADLINE_EXCEEDED: "late",
    grpc.StatusCode.RESOURCE_EXHAUSTED: "too busy",
    grpc.StatusCode.UNAVAILABLE: "away",
}
"""Of marks; metrics count them, so that they are few."""

_FOR_THE_REST = 0.2
"""Of the time that is left, what is kept for the stages after this one."""


class AskTier(Awaited[StateT]):
    """A call, its deadline and its marks."""

    def __init__(self, ask: Ask, runtime: Runtime, limit: float) -> None:
        """`limit`: seconds."""
        self._ask, self._runtime, self.limit = ask, runtime, limit
        self._seconds, self._warned = limit, ""

    async def advance(self, progress: Progress[StateT], ends: float) -> Progress[StateT]:
        seconds = min(self._seconds, (ends - time.perf_counter()) * (1 - _FOR_THE_REST))
        if seconds <= 0:
            return progress.without_next("late")
        request = self.question(progress.state)
        if request is None:
            return progress.given(progress.state)
        outcome: StateT | Exception
        try:
            answer = await self._ask(request, timeout=seconds)
            outcome = self.read(progress.state, answer)
        except grpc.aio.AioRpcError as error:
            self._warn(f"{error.code().name}: {error.details()}")
            return progress.without_next(_REASONS.get(error.code(), "refused"))
        except Exception as error:
            return progress.given(error)
        marks = self.marks(answer)
        if answer.bundle_version != self._runtime.version:
            marks.append((self.name, "another bundle"))
            self._warn(f"it serves bundle {answer.bundle_version}, this gateway {self._runtime.version}")
        return progress.given(outcome)._replace(left_out=(*progress.left_out, *marks))

    def _warn(self, what: str) -> None:
        """Once, until something else is wrong."""
        if what != self._warned:
            self._warned = what
            logger.warning("the tier of the %s: %s", self.name, what)

    @abstractmethod
    def question(self, state: StateT) -> Any:
        """The message to send; None if there is nothing to ask."""

    @abstractmethod
    def read(self, state: StateT, answer: Any) -> StateT:
        """The next state. Raises LeftOut if the answer is of no use."""

    def marks(self, answer: Any) -> list[tuple[str, str]]:
        """What the tier itself did without."""
        return []


class AskCandidates(AskTier[ProposingT]):
    """Ask for the proposals of several sources."""

    name = CANDIDATES

    def __init__(self, ask: Ask, runtime: Runtime, limit: float, sources: Sequence[str]) -> None:
        super().__init__(ask, runtime, limit)
        self._sources = list(sources)

    def question(self, state: ProposingT) -> pb.GetCandidatesRequest:
        context = context_of(state.request, self._runtime)
        return pb.GetCandidatesRequest(context=context, k=state.per_source, sources=self._sources)

    def read(self, state: ProposingT, answer: pb.GetCandidatesResponse) -> ProposingT:
        items, merchant = self._runtime.items, state.request.merchant
        state = state.copied()
        found = {one.source: _proposal(one, items, merchant, state.request.allowed) for one in answer.sources}
        state.proposals = {**state.proposals, **{name: found[name] for name in self._sources if name in found}}
        return state

    def marks(self, answer: pb.GetCandidatesResponse) -> list[tuple[str, str]]:
        return [(name, reason) for name, _, reason in (one.partition(": ") for one in answer.degraded)]


class AskRanker(AskTier[Ranking]):
    """Ask for scores, and for what the ranker saw, which the log keeps."""

    name = RANKER

    def __init__(self, ask: Ask, runtime: Runtime, limit: float, aside: bool = False) -> None:
        """`aside`: the scores are for the log alone."""
        super().__init__(ask, runtime, limit)
        self._shadow, self._aside = runtime.ranker_share == 0, aside

    def question(self, state: Ranking) -> pb.RankRequest | None:
        if not len(state.items):
            return None
        items = self._runtime.items
        context = context_of(state.request, self._runtime)
        return pb.RankRequest(context=context, item_ids=items.items.ids_at(state.items), features=True)

    def read(self, state: Ranking, answer: pb.RankResponse) -> Ranking:
        scores, count = np.array(answer.scores, np.float32), len(state.items)
        dense = np.array(answer.dense, np.float32)
        if len(scores) != count or not np.isfinite(scores).all() or len(dense) != count * len(answer.dense_names):
            raise LeftOut("gave no finite score to every item")
        items = self._runtime.items
        recent = items.items.positions(list(answer.recent_item_ids)) if answer.recent_item_ids else state.items[:0]
        recent = recent[recent != UNKNOWN]
        features: Any = SeenElsewhere(
            dense.reshape(count, -1), tuple(answer.dense_names), recent, items.category[recent]
        )
        state = state.copied()
        state.features = features
        if self._aside and not self._shadow:
            state.shadow_scores = scores
        elif not self._shadow:
            state.scores = scores
        return state


@dataclass(frozen=True)
class SeenElsewhere:
    """What a ranker of another process saw, as far as the log keeps it (`ranker.banner.scorer.BannerFeatures`)."""

    dense: NDArray[np.float32]
    dense_names: tuple[str, ...]
    recent_items: NDArray[np.int32]
    recent_categories: NDArray[np.int32]


def _proposal(one: pb.SourceCandidates, items: ItemTable, merchant: int, allowed: Allowed | None) -> Proposal:
    """As this bundle sees it: available items of the merchant that it knows and allows."""
    if not one.item_ids:
        return Proposal(np.empty(0, np.int32), np.empty(0, np.float32))
    positions, scores = items.items.positions(list(one.item_ids)), np.array(one.scores, np.float32)
    own = items.slice_of(merchant)
    known = (positions >= own.start) & (positions < own.stop)
    known[known] &= items.available[positions[known]]
    if allowed is not None:
        known[known] &= allowed.passes(positions[known])
    return Proposal(positions, scores) if known.all() else Proposal(positions[known], scores[known])
