"""`GET /v1/banner.html`: a finished banner, ready to be put into a page."""

import time
from urllib.parse import urlsplit

from markupsafe import Markup
from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from data.templates import environment_of
from gateway.settings.web import WebSettings
from gateway.web.responses import bad_request, base_of
from gateway.web.signing import Shown, Signer
from gateway.web.upstream import Upstream
from proto.tandem.v1 import tandem_pb2 as pb

MOST_SLOTS = 12
TITLE_LENGTH = 160
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; img-src https: http:; base-uri 'none'",
}


class BannerPage:
    """Renders banners whose links are signed."""

    def __init__(self, settings: WebSettings, upstream: Upstream, signer: Signer) -> None:
        self._settings, self._upstream, self._signer = settings, upstream, signer
        environment = environment_of("gateway.web")
        self._page = environment.get_template("banner.html")
        self._style = Markup(environment.get_template("banner.css").render())

    async def get(self, request: Request) -> Response:
        """The page. A banner without a slot is an empty page, which takes no room."""
        asked = banner_request(request.query_params)
        banner: pb.GetBannerResponse = await self._upstream.call("banner", asked)
        base = base_of(request, self._settings.public_url)
        return HTMLResponse(self.render(asked.context, banner, base), headers=HEADERS)

    def render(self, context: pb.Context, banner: pb.GetBannerResponse, base: str) -> str:
        """The HTML of a banner; links begin with `base`."""
        slots = [
            {
                "href": self._link(context, banner, slot.item_id, base),
                "title": slot.title[:TITLE_LENGTH] or slot.item_id,
                "image": slot.image_url if urlsplit(slot.image_url).scheme in ("http", "https") else "",
                "initial": (slot.title or slot.item_id)[:1].upper(),
                "price": f"{self._settings.currency}{slot.price:,.2f}" if slot.price == slot.price else "",
            }
            for slot in banner.slots
        ]
        return self._page.render(style=self._style, slots=slots, banner=banner)

    def _link(self, context: pb.Context, banner: pb.GetBannerResponse, item_id: str, base: str) -> str:
        """Where a slot leads: to the signed redirect; nowhere for what was not logged or has no page."""
        if not banner.display_id or self._settings.item_page(context.merchant_id, item_id) is None:
            return ""
        shown = Shown(
            banner.display_id, context.user_id, context.merchant_id, context.country, item_id, int(time.time())
        )
        return f"{base}/click?t={self._signer.sign(shown)}"


def banner_request(query: QueryParams) -> pb.GetBannerRequest:
    """A request from an address's query: merchant, user, slots, country, publisher, device, history, exclude, category,
    min_price, max_price.

    Raises:
        WebRefusal: an unknown or repeated parameter, slots that are no number from 1 to 12, a price that is no number.
    """
    known = ("merchant", "user", "slots", "country", "publisher", "device", "history", "exclude")
    given = parameters(query, (*known, "category", "min_price", "max_price"))
    slots = given.get("slots", "4")
    if not (slots.isascii() and slots.isdigit() and 1 <= int(slots[:4]) <= MOST_SLOTS):
        raise bad_request(f"slots is {slots!r:.40}; expected 1 to {MOST_SLOTS}")
    context = pb.Context(
        user_id=given.get("user", ""),
        merchant_id=given.get("merchant", ""),
        country=given.get("country", ""),
        publisher=given.get("publisher", ""),
        device=given.get("device", ""),
        history=pb.History(item_ids=_ids(given.get("history", ""))),
        exclude_item_ids=_ids(given.get("exclude", "")),
        filter=pb.Filter(
            categories=_ids(given.get("category", "")),
            min_price=_price(given, "min_price"),
            max_price=_price(given, "max_price"),
        ),
    )
    return pb.GetBannerRequest(context=context, slots=int(slots))


def parameters(query: QueryParams, known: tuple[str, ...]) -> dict[str, str]:
    """The query's parameters, each once. Raises WebRefusal for one that is unknown or given twice."""
    found: dict[str, str] = {}
    for name, value in query.multi_items():
        if name not in known:
            raise bad_request(f"parameter {name!r:.40} is unknown; expected some of {', '.join(known)}")
        if name in found:
            raise bad_request(f"parameter {name!r} is given twice; expected it once")
        found[name] = value
    return found


def _ids(text: str) -> list[str]:
    return [one for one in text.split(",") if one]


def _price(given: dict[str, str], name: str) -> float | None:
    text = given.get(name, "")
    try:
        return float(text) if text else None
    except ValueError:
        raise bad_request(f"{name} is {text!r:.40}; expected a price") from None
