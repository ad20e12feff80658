"""The first stages: each candidate source proposes items, and may say why."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from candidates.explanation import ExplainingSource, Reasons
from candidates.proposals import CandidateSource, Proposal
from data.items import ItemTable
from data.request import Request
from gateway.banner.stages import LeftOut, Progress, Stage, State
from gateway.timelines.store import Seen


@dataclass(kw_only=True)
class Proposing(State):
    """A request, and what the sources asked so far propose, by source.

    Attributes:
        per_source: candidates asked of each source.
        reasons: per source that can say so, why each of its items scored as it did.
        seen: by item id, what the user was shown and clicked on lately; None if nobody asked, or it did not come.
    """

    request: Request
    per_source: int
    proposals: Mapping[str, Proposal] = field(default_factory=dict)
    reasons: Mapping[str, list[Reasons]] = field(default_factory=dict)
    seen: Mapping[str, Seen] | None = None


ProposingT = TypeVar("ProposingT", bound=Proposing)


class Propose(Stage[ProposingT]):
    """Ask one source."""

    def __init__(self, name: str, source: CandidateSource | None, items: ItemTable, limit: float) -> None:
        """`source`: None if the bundle lacks it."""
        self.name, self.limit = name, limit
        self.bounded = source is None or getattr(source, "bounded", False)
        self._source, self._items = source, items

    def run(self, progress: Progress[ProposingT]) -> ProposingT:
        state, source = progress.state, self._source
        if source is None:
            raise LeftOut("not in this bundle")
        kept = source.propose(state.request, state.per_source)
        if len(kept) > state.per_source:
            kept = Proposal(kept.items[: state.per_source], kept.scores[: state.per_source])
        own, places = self._items.slice_of(state.request.merchant), kept.items.tolist()
        if places and not (own.start <= min(places) and max(places) < own.stop):
            raise LeftOut("proposed another merchant's items")
        allowed = state.request.allowed
        if allowed is not None and places:  # a source that knows of no filters
            passing = allowed.passes(kept.items)
            kept = kept if passing.all() else Proposal(kept.items[passing], kept.scores[passing])
        state = state.copied()
        state.proposals = {**state.proposals, self.name: kept}
        return state


class Explain(Stage[ProposingT]):
    """Say, for the sources that can, why each item scored as it did: the `count` history items that add most."""

    name = "explain"
    optional = False

    def __init__(self, sources: Mapping[str, CandidateSource], count: int) -> None:
        self._sources, self._count = sources, count

    def run(self, progress: Progress[ProposingT]) -> ProposingT:
        state = progress.state
        reasons: dict[str, list[Reasons]] = {}
        for name, proposal in state.proposals.items():
            source = self._sources[name]
            if isinstance(source, ExplainingSource):
                found = source.explain(state.request, proposal.items)
                reasons[name] = [found.reasons(place, self._count) for place in range(len(proposal))]
        state = state.copied()
        state.reasons = reasons
        return state
