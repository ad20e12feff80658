"""Questions to the bundle in service, from the terminal: what it proposes, why, and what is like an item."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from candidates.errors import CandidatesError
from candidates.explanation import ExplainingSource, Explanation
from candidates.retrieval.similar import SimilarItems
from candidates.sources import load_sources
from data.bundle import Bundle
from data.filters import ItemFilters
from data.ids import UNKNOWN
from data.items import ItemTable
from data.request import HISTORY_LIMIT, NO_FILTER, NO_HISTORY, History, ItemFilter, Request
from data.schema import EventKind
from data.tables import load_events
from data.timelines import Timelines
from data.workspace import Workspace


@dataclass(frozen=True)
class Asker:
    """Who asks: what the command line says, None where it says nothing.

    Attributes:
        user: one of the workspace, whose events are the history.
        history: item ids viewed, oldest first, or events, in the place of the user's.
        merchant: by default that of the newest item of the history. country: by default the user's.
        exclude_kinds: items that the history holds with one of these kinds are not proposed.
        filter: what is proposed at all.
    """

    user: str | None = None
    history: Sequence[str] | History | None = None
    merchant: str | None = None
    country: str | None = None
    exclude_kinds: Sequence[EventKind] = ()
    filter: ItemFilter = NO_FILTER


@dataclass(frozen=True)
class InService:
    """The bundle in service of a workspace, and its catalog."""

    workspace: Workspace
    bundle: Bundle
    items: ItemTable

    @classmethod
    def of(cls, workspace: Workspace) -> "InService":
        """Raises DataError if no bundle is in service."""
        bundle = Bundle.open(workspace.current, verify=False)
        return cls(workspace, bundle, ItemTable.load(bundle.catalog))

    def position(self, item: str) -> int:
        """Raises CandidatesError if the catalog has no such item."""
        found = self.items.items.position(item)
        if found == UNKNOWN:
            raise CandidatesError(f"item {item!r} is not in the catalog of bundle {self.bundle.version}")
        return found

    def described(self, position: int, **more: Any) -> dict[str, Any]:
        return {"item": self.items.items.id(position), "title": self.items.titles[position], **more}

    def request(self, asker: Asker) -> Request:
        """Raises CandidatesError if the user, the merchant or an item of the history is unknown."""
        history, country, ts = self._history(asker)
        merchant = asker.merchant
        if merchant is not None:
            position = self.items.merchants.position(merchant)
        else:
            position = int(self.items.merchant[history.items[-1]]) if len(history) else 0
        if position == UNKNOWN:
            raise CandidatesError(f"merchant {merchant!r} is not in the catalog of bundle {self.bundle.version}")
        exclude = np.unique(history.items[np.isin(history.kinds, [int(kind) for kind in asker.exclude_kinds])])
        newest = slice(-HISTORY_LIMIT, None)
        history = History(history.items[newest], history.kinds[newest], history.ts[newest])
        allowed = self._filters.allowed(position, asker.filter)
        where = asker.country or country
        return Request(asker.user or "", position, where, ts, history, exclude=exclude, allowed=allowed)

    @cached_property
    def _filters(self) -> ItemFilters:
        return ItemFilters(self.items)

    def _history(self, asker: Asker) -> tuple[History, str, int]:
        """(all of the user's events, oldest first; their country; the moment after the newest)."""
        told = asker.history
        if told is not None and not isinstance(told, History):
            items = np.array([self.position(one) for one in told], np.int32)
            told = History(items, np.full(len(items), EventKind.view, np.int8), np.zeros(len(items), np.int64))
        if told is not None:
            return told, "", int(told.ts.max(initial=-1)) + 1
        if asker.user is None:
            return NO_HISTORY, "", 0
        events = load_events(self.workspace)
        timelines = Timelines.of(events.filter(pc.equal(events["user_id"], asker.user)), self.items)
        if not len(timelines):
            raise CandidatesError(
                f"user {asker.user!r} has no event in {self.workspace.events}; name no user for a new one"
            )
        history = timelines.history(0, limit=len(timelines.items))
        return history, timelines.countries[0], int(timelines.ts.max()) + 1


def proposals_for(workspace: Workspace, asker: Asker, k: int) -> dict[str, Any]:
    """What each source of the bundle in service proposes, with titles.

    Raises:
        CandidatesError: the user, the merchant or an item of the history is unknown.
        DataError: no bundle is in service.
    """
    service = InService.of(workspace)
    request = service.request(asker)
    return _about(service, asker, request) | {
        "proposals": {
            name: [
                service.described(item, score=score)
                for item, score in zip(found.items.tolist(), found.scores.tolist(), strict=True)
            ]
            for name, source in load_sources(service.bundle, service.items).items()
            for found in [source.propose(request, k)]
        },
    }


def explanations_for(
    workspace: Workspace, asker: Asker, k: int, top: int, wanted: Sequence[str] = ()
) -> dict[str, Any]:
    """The scores of LED's proposals (or of the `wanted` items) in parts: the item's bias and what the history adds.

    Args:
        top: history items named per proposed item, those that add most.

    Raises:
        CandidatesError: as `proposals_for`; or a wanted item is of another merchant, or not available.
    """
    service = InService.of(workspace)
    request = service.request(asker)
    source = load_sources(service.bundle, service.items, ["led"])["led"]
    assert isinstance(source, ExplainingSource)
    positions = _wanted(service, request, wanted) if wanted else source.propose(request, k).items
    found = source.explain(request, positions)
    return _about(service, asker, request) | {
        "explanations": [_explained(service, found, place, item, top) for place, item in enumerate(positions.tolist())]
    }


def similar_to(workspace: Workspace, item: str, country: str | None, k: int) -> dict[str, Any]:
    """The k available items of the same merchant that are most like one; see `candidates.retrieval.similar`.

    Raises:
        CandidatesError: the item is unknown, or the bundle has no LED. DataError: no bundle is in service.
    """
    service = InService.of(workspace)
    position = service.position(item)
    sources = load_sources(service.bundle, service.items)
    found = SimilarItems.of(sources, service.items).find(position, country or "", k, np.empty(0, np.int32))
    return {
        **service.described(position, category=_category(service.items, position)),
        "merchant": service.items.merchants.id(int(service.items.merchant[position])),
        "basis": found.basis,
        "similar": [
            service.described(one, score=score, category=_category(service.items, one))
            for one, score in zip(found.items.tolist(), found.scores.tolist(), strict=True)
        ],
    }


def _about(service: InService, asker: Asker, request: Request) -> dict[str, Any]:
    return {
        "user": asker.user,
        "merchant": service.items.merchants.id(request.merchant),
        "history": [service.items.titles[item] for item in request.history.items.tolist()],
    }


def _wanted(service: InService, request: Request, wanted: Sequence[str]) -> NDArray[np.int32]:
    positions = np.array([service.position(one) for one in wanted], np.int32)
    for item, position in zip(wanted, positions.tolist(), strict=True):
        if service.items.merchant[position] != request.merchant:
            merchant = service.items.merchants.id(request.merchant)
            raise CandidatesError(f"item {item!r} is not merchant {merchant!r}'s; expected one that could be proposed")
        if not service.items.available[position]:
            raise CandidatesError(f"item {item!r} is not available; expected one that could be proposed")
    return positions


def _explained(service: InService, found: Explanation, place: int, item: int, top: int) -> dict[str, Any]:
    reasons = found.reasons(place, top)
    named = zip(reasons.history, reasons.contributions, strict=True)
    return service.described(
        item,
        score=float(found.scores()[place]),
        known=reasons.known,
        bias=reasons.bias,
        history=[service.described(one, contribution=value) for one, value in named],
        others=reasons.others,
    )


def _category(items: ItemTable, position: int) -> str:
    return items.categories.id(int(items.category[position]))
