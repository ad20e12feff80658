"""`/click`: a signed redirect that records the click; `/landing.gif` and `/view`: what the item's page reports."""

import base64
import logging
import time
import uuid
from urllib.parse import urlsplit, urlunsplit

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from gateway.errors import GatewayError, RefusalError
from gateway.settings.web import WebSettings
from gateway.web.banner import parameters
from gateway.web.responses import WebRefusal, base_of
from gateway.web.signing import Shown, Signer
from gateway.web.upstream import Upstream
from gateway.wire import Reason
from proto.tandem.v1 import tandem_pb2 as pb

logger = logging.getLogger(__name__)

PARAMETER = "tandem"
"""The query parameter of an item's page that carries the signed slot to its landing."""
_GIF = base64.b64decode("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7")
_NO_STORE = {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}
_SECONDS_PER_DAY = 86_400


class Clicks:
    """What browsers report of banners. A report that cannot be logged never keeps a user from the item's page."""

    def __init__(self, settings: WebSettings, upstream: Upstream, signer: Signer) -> None:
        self._settings, self._upstream, self._signer = settings, upstream, signer

    async def click(self, request: Request) -> Response:
        """Record the click, unless the browser only looks ahead, and go to the item's page."""
        shown = self._shown(request)
        page = self._settings.item_page(shown.merchant_id, shown.item_id)
        if page is None:
            sentence = f"no page is known for items of {shown.merchant_id!r:.140}; expected item_url in the settings"
            raise RefusalError("NOT_FOUND", sentence, Reason.NO_ITEM_PAGE)
        if _is_meant(request) and self._is_recent(shown):
            await self._record(shown, "click", pb.CLICK)
        return RedirectResponse(_with_parameter(page, request.query_params["t"]), 302, _NO_STORE)

    async def landing(self, request: Request) -> Response:
        """Record that a click reached the item's page; answers with an image of one pixel."""
        shown = self._shown(request)
        if _is_meant(request) and self._is_recent(shown):
            await self._record(shown, "landing", pb.LANDING)
        return Response(_GIF, media_type="image/gif", headers=_NO_STORE)

    async def view(self, request: Request) -> Response:
        """Record that a user sees an item's page; from pages of this server or of the settings' origins only."""
        given = parameters(request.query_params, ("merchant", "user", "item", "country"))
        origin = request.headers.get("origin", "")
        if origin not in self._settings.origins and origin != base_of(request):
            sentence = f"views are reported from pages of the settings' origins; found origin {origin!r:.80}"
            raise WebRefusal(403, "PERMISSION_DENIED", sentence)
        event = pb.TrackedEvent(
            event_id=f"view-{uuid.uuid4().hex}",
            kind=pb.VIEW,
            user_id=given.get("user", ""),
            item_id=given.get("item", ""),
            merchant_id=given.get("merchant", ""),
            country=given.get("country", ""),
        )
        await self._upstream.call("track", pb.TrackRequest(events=[event]))
        return Response(status_code=204, headers=_NO_STORE)

    def _shown(self, request: Request) -> Shown:
        try:
            return self._signer.read(parameters(request.query_params, ("t",)).get("t", ""))
        except GatewayError as error:
            if isinstance(error, RefusalError):
                raise
            raise WebRefusal(403, "PERMISSION_DENIED", str(error), Reason.NOT_SIGNED) from None

    def _is_recent(self, shown: Shown) -> bool:
        return time.time() - shown.shown_s < self._settings.click_days * _SECONDS_PER_DAY

    async def _record(self, shown: Shown, kind: str, code: "pb.EventKind") -> None:
        event = pb.TrackedEvent(
            event_id=shown.event_id(kind),
            kind=code,
            user_id=shown.user_id,
            item_id=shown.item_id,
            merchant_id=shown.merchant_id,
            country=shown.country,
            display_id=shown.display_id,
        )
        try:
            await self._upstream.call("track", pb.TrackRequest(events=[event]))
        except RefusalError as error:
            logger.error("a %s is not logged: %s", kind, error)


def _is_meant(request: Request) -> bool:
    """Whether a person clicked: browsers say so when they only fetch ahead, and checkers of links ask with HEAD."""
    ahead = request.headers.get("sec-purpose", "") + request.headers.get("purpose", "")
    return request.method == "GET" and "prefetch" not in ahead


def _with_parameter(page: str, token: str) -> str:
    parts = urlsplit(page)
    query = f"{parts.query}&{PARAMETER}={token}" if parts.query else f"{PARAMETER}={token}"
    return urlunsplit(parts._replace(query=query))
