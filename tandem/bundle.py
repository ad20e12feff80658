"""A bundle asked from Python: what the gateway would answer, without a gateway."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from candidates.errors import CandidatesError
from candidates.led.source import Led
from candidates.models.vectors import write_item_vectors
from candidates.retrieval.questions import Asker, InService
from data import bundle as sealed
from data.filters import item_filter
from data.request import NO_FILTER, History, ItemFilter, Request
from data.schema import EventKind
from data.workspace import Workspace
from gateway.banner.assembly import assemble, candidates_per_source
from gateway.banner.runtime import Runtime


@dataclass(frozen=True, slots=True)
class Recommended:
    """An item, and who proposed it.

    Attributes:
        score: of a banner the ranker's probability, or, where none ranks, the merit of the item's places
            (candidates/merge_order.py); of one source or of similar items that source's own score.
        sources: every source that proposed it, such as ("gbo", "led").
    """

    item_id: str
    title: str
    score: float
    sources: tuple[str, ...]


@dataclass(frozen=True)
class UserHistory:
    """What somebody did, oldest first: parallel sequences. Without `kinds` every event is a view, without times old.

    Attributes:
        kinds: "view", "click", "landing" or "sale" each.
        ts: UTC microseconds each.
    """

    item_ids: Sequence[str]
    kinds: Sequence[str] = ()
    ts: Sequence[int] = ()


@dataclass(frozen=True)
class ItemVectors:
    """LED of one country: `vectors` float32 [n, d], `scales` and `biases` float32 [n], one row per item id.

    A user's vector is the sum of scale x vector over the items they took, divided by a power of their number.
    """

    item_ids: list[str]
    vectors: NDArray[np.float32]
    scales: NDArray[np.float32]
    biases: NDArray[np.float32]


class Bundle:
    """Both stages of one version, loaded. `Bundle.open("workspace")` opens the version in service of a workspace.

    Attributes:
        version: of the bundle. metrics: its offline figures, by part.
        sources: the names of its candidate sources. merchants: their ids.
    """

    def __init__(self, service: InService, runtime: Runtime) -> None:
        self._service, self._runtime = service, runtime
        self.version, self.path = service.bundle.version, service.bundle.path
        self.metrics: dict[str, Any] = service.bundle.metrics
        self.sources = tuple(runtime.sources)
        self.merchants = tuple(service.items.merchants.ids())

    @classmethod
    def open(cls, path: Path | str, verify: bool = True) -> "Bundle":
        """Load a bundle's folder, a link to one, or what is in service in a workspace.

        Args:
            verify: check every file against its digest first.

        Raises:
            DataError: no bundle there, or a file of it is not as it was sealed.
        """
        path = Path(path)
        path = Workspace(path).current if (path / "bundles").is_dir() else path
        found = sealed.Bundle.open(path, verify=verify)
        runtime = Runtime.load(found.path, verify=False)
        return cls(InService(Workspace(found.path.parents[1]), found, runtime.items), runtime)

    def __repr__(self) -> str:
        return f"Bundle({self.version}: {', '.join(self.sources)}; {len(self._runtime.items):,} items)"

    def recommend(
        self,
        user: str | Sequence[str] | UserHistory | None,
        merchant: str | None = None,
        k: int = 6,
        *,
        sources: Sequence[str] | None = None,
        country: str | None = None,
        exclude_kinds: Sequence[str] = (),
        categories: Sequence[str] = (),
        min_price: float | None = None,
        max_price: float | None = None,
    ) -> list[Recommended]:
        """The banner of k slots that the gateway would give: sources, pool and ranker, without deadlines.

        Args:
            user: the id of a user of the workspace, whose events are the history; or the history itself: item ids,
                oldest first, or a UserHistory. None: somebody new.
            merchant: whose items; by default the merchant of the history's newest item.
            sources: by default all of the bundle's.
            country: by default the user's.
            exclude_kinds: leave out items that the history holds with such a kind ("sale": what was bought).
            categories: items of these alone, or below one. min_price, max_price: items at these prices or between.

        Raises:
            TandemError: an unknown user, merchant, item, source or kind; a history out of order; a wrong k or price.
        """
        _require_some(k)
        request = self._request(user, merchant, country, exclude_kinds, item_filter(categories, min_price, max_price))
        names = self.sources if sources is None else tuple(self._known_source(one) for one in sources)
        banner = assemble(self._runtime, request, names, k, candidates_per_source(k))
        return [self._recommended(slot.item, slot.score, slot.sources) for slot in banner.slots]

    def candidates(
        self,
        source: str,
        user: str | Sequence[str] | UserHistory | None,
        merchant: str | None = None,
        k: int = 20,
        *,
        country: str | None = None,
        exclude_kinds: Sequence[str] = (),
    ) -> list[Recommended]:
        """What one source proposes, best first, with its own scores. Arguments and errors as `recommend`."""
        _require_some(k)
        request = self._request(user, merchant, country, exclude_kinds)
        found = self._runtime.sources[self._known_source(source)].propose(request, k)
        return self._listed(found.items, found.scores, (source,))

    def similar_items(self, item_id: str, k: int = 10, *, country: str = "") -> list[Recommended]:
        """The available items of the same merchant that are most like one, by cosine of LED's vectors; an item nobody
        took is compared by category.

        Raises:
            CandidatesError: an unknown item, k below 1, or a bundle without LED.
        """
        _require_some(k)
        if self._runtime.similar is None:
            raise CandidatesError(f"bundle {self.version} has no source led, by whose vectors items are compared")
        position = self._service.position(item_id)
        found = self._runtime.similar.find(position, country, k, np.empty(0, np.int32))
        return self._listed(found.items, found.scores, (found.basis,))

    def item_vectors(self, country: str = "") -> ItemVectors:
        """LED's vectors of the items that a country's users took; of the largest country by default.

        Raises:
            CandidatesError: a bundle without LED, or without a model of this country.
        """
        led = self._runtime.sources.get("led")
        if not isinstance(led, Led):
            raise CandidatesError(f"bundle {self.version} has no source led; it has {', '.join(self.sources)}")
        positions, found = led.item_vectors(country)
        ids = self._runtime.items.items.ids_at(positions)
        return ItemVectors(ids, found.vectors, found.scales, found.biases)

    def write_item_vectors(self, path: Path | str, country: str = "") -> None:
        """`item_vectors` as a Parquet file: item_id, vector, scale, bias."""
        found = self.item_vectors(country)
        write_item_vectors(path, found.item_ids, found.vectors, scale=found.scales, bias=found.biases)

    def _request(
        self,
        user: str | Sequence[str] | UserHistory | None,
        merchant: str | None,
        country: str | None,
        exclude_kinds: Sequence[str],
        asked: ItemFilter = NO_FILTER,
    ) -> Request:
        excluded = [_kind(one) for one in exclude_kinds]
        if user is None or isinstance(user, str):
            return self._service.request(Asker(user, None, merchant, country, excluded, asked))
        told = self._history(user if isinstance(user, UserHistory) else UserHistory(user))
        return self._service.request(Asker(None, told, merchant, country, excluded, asked))

    def _history(self, told: UserHistory) -> History:
        _refuse_unreadable(told)
        count = len(told.item_ids)
        items = [self._service.position(one) for one in told.item_ids]
        kinds = [_kind(one) for one in told.kinds] or [EventKind.view] * count
        ts = list(told.ts) or [0] * count
        return History(np.array(items, np.int32), np.array(kinds, np.int8), np.array(ts, np.int64))

    def _known_source(self, name: str) -> str:
        if name not in self.sources:
            raise CandidatesError(f"bundle {self.version} has no source {name!r}; expected {', '.join(self.sources)}")
        return name

    def _listed(self, items: NDArray[Any], scores: NDArray[Any], sources: tuple[str, ...]) -> list[Recommended]:
        pairs = zip(items.tolist(), scores.tolist(), strict=True)
        return [self._recommended(item, score, sources) for item, score in pairs]

    def _recommended(self, item: int, score: float, sources: tuple[str, ...]) -> Recommended:
        table = self._runtime.items
        return Recommended(table.items.id(item), table.titles[item], score, sources)


def _refuse_unreadable(told: UserHistory) -> None:
    count = len(told.item_ids)
    for name, column in (("kinds", told.kinds), ("ts", told.ts)):
        if len(column) not in (0, count):
            raise CandidatesError(f"a history has {count} items and {len(column)} {name}; expected as many or none")
    strange = [one for one in told.item_ids if not isinstance(one, str)]
    if strange:
        raise CandidatesError(f"a history holds {strange[0]!r:.80}; expected item ids, which are text")
    if any(later < earlier for earlier, later in pairwise(told.ts)):
        raise CandidatesError("a history's ts go back; expected its items oldest first")


def _require_some(k: int) -> None:
    if k < 1:
        raise CandidatesError(f"k is {k}; expected at least 1 item")


def _kind(name: str) -> EventKind:
    if name not in EventKind.__members__:
        raise CandidatesError(f"kind {name!r}: expected one of {', '.join(EventKind.__members__)}")
    return EventKind[name]
