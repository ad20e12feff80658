"""`/shop`: an example shop of the workspace's catalog, whose pages carry real banners. For trying out only."""

from typing import Any
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from data.templates import environment_of
from gateway.errors import RefusalError
from gateway.settings.web import ITEM
from gateway.web.catalog_view import CatalogView
from gateway.web.responses import base_of
from gateway.wire import Reason

ITEM_URL = f"/shop/item/{ITEM}"
_LISTED = 60


class Shop:
    """Pages of a catalog: merchants, their items, an item."""

    def __init__(self, catalog: CatalogView, public_url: str) -> None:
        self._catalog, self._public_url = catalog, public_url
        self._template = environment_of("gateway.web").get_template("shop.html")

    def routes(self) -> list[Route]:
        return [
            Route("/shop", self.merchants),
            Route("/shop/item/{item_id:path}", self.item),
            Route("/shop/{merchant_id:path}", self.merchant),
        ]

    async def merchants(self, request: Request) -> Response:
        base = base_of(request, self._public_url)
        names = self._catalog.merchants()
        return self._page(request, "Example shops", [(f"{base}/shop/{quote(name, safe='')}", name) for name in names])

    async def merchant(self, request: Request) -> Response:
        name, base = request.path_params["merchant_id"], base_of(request, self._public_url)
        own = self._catalog.of_merchant(name, _LISTED)
        if not own:
            raise RefusalError("NOT_FOUND", f"the catalog has no merchant {name!r:.140}", Reason.UNKNOWN_MERCHANT)
        links = [(f"{base}/shop/item/{quote(one['item_id'], safe='')}", one["title"] or one["item_id"]) for one in own]
        return self._page(request, name, links, merchant=name)

    async def item(self, request: Request) -> Response:
        item_id = request.path_params["item_id"]
        item = self._catalog.items([item_id]).get(item_id)
        if item is None:
            raise RefusalError("NOT_FOUND", f"the catalog has no item {item_id!r:.140}", Reason.UNKNOWN_ITEM)
        return self._page(request, item["title"] or item["item_id"], [], merchant=item["merchant_id"], item=item)

    def _page(self, request: Request, title: str, links: list[tuple[str, str]], **about: Any) -> Response:
        shown = {"merchant": None, "item": None, "base": base_of(request, self._public_url)} | about
        return HTMLResponse(self._template.render(title=title, links=links, **shown))
