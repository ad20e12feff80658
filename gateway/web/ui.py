"""`/ui`: how a banner comes about, and the experiment's report, for people of the house: on this machine only."""

import time
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from data.errors import TandemError
from data.workspace import Workspace
from gateway.errors import RefusalError
from gateway.experiment.reports import report_of
from gateway.pages.environment import environment_of
from gateway.pages.page import render_page
from gateway.request_view import Asker, asker_of
from gateway.web.banner import MOST_SLOTS, parameters
from gateway.web.catalog_view import CatalogView
from gateway.web.upstream import Upstream
from proto.tandem.v1 import tandem_pb2 as pb

CANDIDATES = 10
EXPLAINED = 2
_SHOWN_HISTORY = 12
_REPORT_SECONDS = 30.0
_FIELDS = ("user", "merchant", "country", "population", "slots", "history")
_BASIS = {
    "gbo": "among the merchant's most popular",
    "cbo": "popular with users alike",
    "led": "close to what this user looked at",
}


@dataclass(frozen=True)
class Row:
    """An item as the page shows it. `why`: one sentence."""

    item_id: str
    title: str
    about: str
    sources: tuple[str, ...]
    score: str
    why: str


class Ui:
    """The pages. Every banner they ask for is a preview: nothing is logged."""

    def __init__(self, workspace: Workspace, upstream: Upstream) -> None:
        """Raises DataError if the workspace holds no catalog."""
        self._workspace, self._upstream = workspace, upstream
        self._catalog = CatalogView(workspace)
        environment = environment_of("gateway.web", "gateway.pages")
        self._page = environment.get_template("ui_banner.html")
        self._style = Markup(environment.get_template("report.css").render())
        self._report: tuple[float, str] = (0.0, "")

    def routes(self) -> list[Route]:
        return [
            Route("/ui", self.home),
            Route("/ui/banner", self.banner),
            Route("/ui/report", self.report),
        ]

    async def home(self, request: Request) -> Response:
        return RedirectResponse("/ui/banner", 307)

    async def report(self, request: Request) -> Response:
        """The experiment's report as of at most half a minute ago."""
        made, page = self._report
        if time.monotonic() - made > _REPORT_SECONDS or not page:
            try:
                page = await run_in_threadpool(lambda: render_page(report_of(self._workspace)))
            except TandemError as error:
                raise RefusalError("FAILED_PRECONDITION", str(error)) from None
            self._report = (time.monotonic(), page)
        return HTMLResponse(page, headers={"Cache-Control": "no-store"})

    async def banner(self, request: Request) -> Response:
        """A banner with everything that led to it: history, each source's candidates, the final rows, the stages."""
        given = {name: value for name, value in parameters(request.query_params, _FIELDS).items() if value.strip()}
        shown: dict[str, Any] = {"error": "", "given": given, "merchants": self._catalog.merchants()}
        try:
            asker = await run_in_threadpool(self._asker, given)
            shown |= await self._found(asker, given)
        except TandemError as error:
            shown["error"] = str(error)
        page = self._page.render(style=self._style, **{"asker": None, "found": None} | shown)
        return HTMLResponse(page, 400 if shown["error"] else 200, {"Cache-Control": "no-store"})

    def _asker(self, given: dict[str, str]) -> Asker:
        ids = [one.strip() for one in given["history"].split(",") if one.strip()] if "history" in given else None
        return asker_of(self._workspace, given.get("user"), given.get("merchant"), given.get("country"), ids)

    async def _found(self, asker: Asker, given: dict[str, str]) -> dict[str, Any]:
        slots = int(given["slots"]) if given.get("slots", "").isdecimal() else 6
        context = pb.Context(
            user_id=asker.user_id, merchant_id=asker.merchant_id, country=asker.country, history=asker.history
        )
        asked = pb.GetBannerRequest(
            context=context, slots=min(slots, MOST_SLOTS), preview=True, population=given.get("population", "")
        )
        banner: pb.GetBannerResponse = await self._upstream.call("banner", asked)
        proposed: pb.GetCandidatesResponse = await self._upstream.call(
            "candidates", pb.GetCandidatesRequest(context=context, k=CANDIDATES * 5, explain=EXPLAINED)
        )
        ids = {one for source in proposed.sources for one in source.item_ids}
        items = self._catalog.items([*ids, *asker.history.item_ids, *(slot.item_id for slot in banner.slots)])
        why = _reasons(proposed, items)
        final = [
            Row(slot.item_id, slot.title, _about(slot.category, slot.price), tuple(slot.sources), f"{slot.score:.4f}",
                _why(slot.item_id, tuple(slot.sources), why))
            for slot in banner.slots
        ]  # fmt: skip
        chosen = {row.item_id: place for place, row in enumerate(final, 1)}
        columns = [
            (source.source, [(one, _title(one, items), chosen.get(one)) for one in source.item_ids[:CANDIDATES]])
            for source in proposed.sources
        ]
        newest = list(asker.history.item_ids)[-_SHOWN_HISTORY:][::-1]
        kinds = list(asker.history.kinds)[-_SHOWN_HISTORY:][::-1] or [pb.VIEW] * len(newest)
        past = [(pb.EventKind.Name(kind).lower(), _title(one, items)) for one, kind in zip(newest, kinds, strict=False)]
        found = {"banner": banner, "final": final, "columns": columns, "past": past, "stages": _waterfall(banner)}
        return {"found": found, "asker": asker}


def _about(category: str, price: float) -> str:
    return " · ".join(one for one in (category, f"{price:,.2f}" if price == price else "") if one)


def _title(item_id: str, items: dict[str, dict[str, Any]]) -> str:
    return str(items.get(item_id, {}).get("title") or item_id)


def _reasons(proposed: pb.GetCandidatesResponse, items: dict[str, dict[str, Any]]) -> dict[str, str]:
    """By item: what of the history speaks most for it, where the source can say."""
    found: dict[str, str] = {}
    for source in proposed.sources:
        for item_id, one in zip(source.item_ids, source.explanations, strict=False):
            because = [_title(part.item_id, items) for part in one.history if part.contribution > 0]
            if because:
                found[item_id] = "because of " + " and ".join(dict.fromkeys(because))
    return found


def _why(item_id: str, sources: tuple[str, ...], why: dict[str, str]) -> str:
    parts = [_BASIS[one] for one in sources if one in _BASIS]
    if "led" in sources and item_id in why:
        parts.append(why[item_id])
    return "; ".join(parts)


def _waterfall(banner: pb.GetBannerResponse) -> list[tuple[str, float, float, str]]:
    """Stages as (name, left and width in percent, time in words), one after the other."""
    total = sum(one.us for one in banner.stage_times) or 1
    found, at = [], 0.0
    for one in banner.stage_times:
        width = 100 * one.us / total
        found.append((one.stage, at, width, f"{one.us / 1000:.2f} ms"))
        at += width
    return found
