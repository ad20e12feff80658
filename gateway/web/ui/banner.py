"""`/ui/banner`: one banner with everything that led to it (the LED paper's Figure 8), for any user or history."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import pyarrow as pa
import pyarrow.parquet as pq
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from data.errors import TandemError
from data.simulator.behaviour import DEVICES
from gateway.errors import RefusalError
from gateway.experiment.populations import load_experiment
from gateway.request_view import Asker, asker_of, order_of
from gateway.web.banner import MOST_SLOTS, parameters
from gateway.web.catalog_view import CatalogView
from gateway.web.responses import http_status_of
from gateway.web.ui.asking import Asked, LoadingError
from gateway.web.ui.shell import Shell
from proto.tandem.v1 import tandem_pb2 as pb

CANDIDATES = 10
EXPLAINED = 2
_SHOWN_HISTORY = 12
_LEAST_SLOTS = 6
_LOADING_SECONDS = "2"
_FIELDS = ("user", "merchant", "country", "device", "population", "slots", "history")
WORDS = {"gbo": "what is most popular at the merchant", "cbo": "what users alike liked", "led": "close to the history"}
_WHY = {
    "gbo": "among the merchant's most popular",
    "cbo": "popular with users alike",
    "led": "close to what this user looked at",
}


@dataclass(frozen=True)
class Row:
    """An item as the page shows it.

    Attributes:
        why: one sentence. slot: its place in the banner from 1; 0 if it is not there. viewed: the address of the same
            question with the item in the history; without: without it.
    """

    title: str
    about: str = ""
    image: str = ""
    sources: tuple[str, ...] = ()
    score: str = ""
    why: str = ""
    slot: int = 0
    kind: str = ""
    viewed: str = ""
    without: str = ""


class BannerView:
    """Asks for the banner and for every source's candidates."""

    def __init__(self, shell: Shell, asked: Asked, place: str, populations: Path) -> None:
        """`place`: a sentence about where banners come from."""
        self._shell, self._asked, self._place, self._populations = shell, asked, place, populations

    @cached_property
    def _catalog(self) -> CatalogView:
        return CatalogView(self._shell.workspace)

    @cached_property
    def _examples(self) -> list[str]:
        """Some users of the workspace to choose from: the busiest, some of the middle, some with one event."""
        path = self._shell.workspace.events
        if not path.is_file():
            return []
        counted = pa.table(pq.read_table(path, columns=["user_id"])["user_id"].value_counts().flatten(), ["user", "n"])
        ordered = counted.sort_by([("n", "descending"), ("user", "ascending")])["user"]
        middle = len(ordered) // 2
        chosen = [ordered.slice(0, 8), ordered.slice(middle, 8), ordered.slice(max(middle + 8, len(ordered) - 4))]
        return list(dict.fromkeys(one for part in chosen for one in part.to_pylist()))

    async def page(self, request: Request) -> Response:
        """The page; with a sentence and no banner where there is none."""
        given = {name: value.strip() for name, value in parameters(request.query_params, _FIELDS).items()}
        given = {name: value for name, value in given.items() if value or name == "history"}
        merchants, users = await run_in_threadpool(lambda: (self._catalog.merchants(), self._examples))
        shown: dict[str, Any] = {"asked": dict.fromkeys(_FIELDS, "") | given, "error": "", "found": False}
        shown |= {"merchants": merchants, "users": users, "devices": DEVICES, "words": WORDS, "place": self._place}
        status, headers = 200, {}
        try:
            asker = await run_in_threadpool(self._asker, given)
            shown |= await self._found(asker, given)
        except TandemError as error:
            shown["error"] = str(error)
            status = http_status_of(error) if isinstance(error, RefusalError) else 400
            headers = {"Refresh": _LOADING_SECONDS} if isinstance(error, LoadingError) else {}
        return self._shell.page("banner.html", status, headers, current="banner", title="Banner", **shown)

    def _asker(self, given: dict[str, str]) -> Asker:
        ids = _ids(given["history"]) if given.get("history") else None
        return asker_of(self._shell.workspace, given.get("user"), given.get("merchant"), given.get("country"), ids)

    async def _found(self, asker: Asker, given: dict[str, str]) -> dict[str, Any]:
        slots = min(int(given.get("slots", "")), MOST_SLOTS) if given.get("slots", "").isdecimal() else _LEAST_SLOTS
        context = pb.Context(
            user_id=asker.user_id,
            merchant_id=asker.merchant_id,
            country=asker.country,
            device=given.get("device", ""),
            history=asker.history,
        )
        asked = pb.GetBannerRequest(context=context, slots=slots, preview=True, population=given.get("population", ""))
        banner: pb.GetBannerResponse = await self._asked.call("banner", asked)
        more = pb.GetCandidatesRequest(context=context, k=CANDIDATES * 5, explain=EXPLAINED)
        proposed: pb.GetCandidatesResponse = await self._asked.call("candidates", more)
        experiment = await run_in_threadpool(load_experiment, self._populations)
        asks = {one.name: one.sources for one in experiment.populations}.get(banner.population)
        same = {"user": asker.user_id, "merchant": asker.merchant_id, "country": asker.country} | {
            name: given[name] for name in ("device", "slots", "population", "history") if given.get(name)
        }
        items = _Items(self._catalog, same, list(asker.history.item_ids), proposed, banner)
        switch = [("", "as assigned", _link(same | {"population": ""}))]
        switch += [
            (one.name, f"{one.name}: {' + '.join(one.sources)}", _link(same | {"population": one.name}))
            for one in experiment.populations
        ]
        return {
            "found": True,
            "asked": dict.fromkeys(_FIELDS, "") | same,
            "told": asker.told,
            "banner": banner,
            "order": order_of(banner.ranker_share),
            "populations": switch,
            "final": items.final(),
            "proposed": [(one.source, asks is None or one.source in asks, items.of(one)) for one in proposed.sources],
            "past": items.past(asker.history),
            "older": max(0, len(asker.history.item_ids) - _SHOWN_HISTORY),
            "stages": _waterfall(banner),
        }


class _Items:
    """The items of one answer as rows."""

    def __init__(
        self,
        catalog: CatalogView,
        same: dict[str, str],
        history: list[str],
        proposed: pb.GetCandidatesResponse,
        banner: pb.GetBannerResponse,
    ) -> None:
        self._same, self._history, self._banner = same, history, banner
        wanted = {one for source in proposed.sources for one in source.item_ids[:CANDIDATES]}
        self._known = catalog.items([*wanted, *history, *(slot.item_id for slot in banner.slots)])
        self._places = {slot.item_id: place for place, slot in enumerate(banner.slots, 1)}
        self._because = self._reasons(proposed)

    def final(self) -> list[Row]:
        return [
            Row(
                slot.title or slot.item_id,
                _about(slot.category, slot.price),
                slot.image_url if urlsplit(slot.image_url).scheme in ("http", "https") else "",
                tuple(slot.sources),
                f"{slot.score:.4f}",
                self._why(slot.item_id, tuple(slot.sources)),
                viewed=self._viewed(slot.item_id),
            )
            for slot in self._banner.slots
        ]

    def of(self, source: pb.SourceCandidates) -> list[Row]:
        """The best of a source."""
        shown = list(zip(source.item_ids, source.scores, strict=True))[:CANDIDATES]
        return [
            Row(
                self._title(item_id),
                self._about_known(item_id),
                score=f"{score:.4g}",
                why=self._because.get(item_id, "") if source.source == "led" else "",
                slot=self._places.get(item_id, 0),
                viewed=self._viewed(item_id),
            )
            for item_id, score in shown
        ]

    def past(self, history: pb.History) -> list[Row]:
        """The newest of the history, newest first."""
        ids, kinds = list(history.item_ids), list(history.kinds) or [pb.VIEW] * len(history.item_ids)
        rows = []
        for place in range(len(ids) - 1, max(-1, len(ids) - 1 - _SHOWN_HISTORY), -1):
            without = _link(self._same | {"history": ",".join(ids[:place] + ids[place + 1 :]) or ","})
            kind = pb.EventKind.Name(kinds[place]).lower()
            rows.append(Row(self._title(ids[place]), self._about_known(ids[place]), kind=kind, without=without))
        return rows

    def _viewed(self, item_id: str) -> str:
        return _link(self._same | {"history": ",".join([*self._history, item_id][-50:])})

    def _title(self, item_id: str) -> str:
        return str(self._known.get(item_id, {}).get("title") or item_id)

    def _about_known(self, item_id: str) -> str:
        row = self._known.get(item_id, {})
        price = row.get("price")
        return _about(row.get("category") or "", float("nan") if price is None else price)

    def _reasons(self, proposed: pb.GetCandidatesResponse) -> dict[str, str]:
        """By item: what of the history speaks most for it, where the source can say."""
        found: dict[str, str] = {}
        for source in proposed.sources:
            for item_id, one in zip(source.item_ids, source.explanations, strict=False):
                because = [self._title(part.item_id) for part in one.history if part.contribution > 0]
                if because:
                    found[item_id] = "because of " + " and ".join(dict.fromkeys(because))
        return found

    def _why(self, item_id: str, sources: tuple[str, ...]) -> str:
        parts = [_WHY[one] for one in sources if one in _WHY]
        if "led" in sources and item_id in self._because:
            parts.append(self._because[item_id])
        return "; ".join(parts)


def _ids(text: str) -> list[str]:
    return [one.strip() for one in text.split(",") if one.strip()]


def _link(query: dict[str, str]) -> str:
    return "/ui/banner?" + urlencode({name: value for name, value in query.items() if value})


def _about(category: str, price: float) -> str:
    return " · ".join(one for one in (category, f"{price:,.2f}" if price == price else "") if one)


def _waterfall(banner: pb.GetBannerResponse) -> list[tuple[str, float, float, str]]:
    """Stages as (name, left and width in percent, time in words), one after the other."""
    total = sum(one.us for one in banner.stage_times) or 1
    found, at = [], 0.0
    for one in banner.stage_times:
        width = 100 * one.us / total
        found.append((one.stage, at, width, f"{one.us / 1000:.2f} ms"))
        at += width
    found.append(("in all", 0.0, 100.0, f"{total / 1000:.2f} ms"))
    return found
