"""`/shop`: an example shop of the workspace's catalog, whose pages carry real banners. For trying out only."""

from typing import Any
from urllib.parse import quote

import pyarrow as pa
import pyarrow.compute as pc
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from data.tables import load_catalog
from data.workspace import Workspace
from gateway.errors import RefusalError
from gateway.web.banner import templates
from gateway.web.settings import ITEM
from gateway.wire import Reason

ITEM_URL = f"/shop/item/{ITEM}"
_LISTED = 60


class Shop:
    """Pages of a catalog: merchants, their items, an item."""

    def __init__(self, workspace: Workspace, public_url: str) -> None:
        self._catalog = load_catalog(workspace)
        self._public_url = public_url
        self._template = templates().get_template("shop.html")

    def routes(self) -> list[Route]:
        return [
            Route("/shop", self.merchants),
            Route("/shop/item/{item_id:path}", self.item),
            Route("/shop/{merchant_id:path}", self.merchant),
        ]

    async def merchants(self, request: Request) -> Response:
        base = self._base(request)
        names = sorted(pc.unique(self._catalog["merchant_id"]).to_pylist())
        return self._page(request, "Example shops", [(f"{base}/shop/{quote(name, safe='')}", name) for name in names])

    async def merchant(self, request: Request) -> Response:
        name, base = request.path_params["merchant_id"], self._base(request)
        own = self._rows("merchant_id", name, _LISTED)
        links = [(f"{base}/shop/item/{quote(one['item_id'], safe='')}", one["title"] or one["item_id"]) for one in own]
        return self._page(request, name, links, merchant=name)

    async def item(self, request: Request) -> Response:
        item = self._rows("item_id", request.path_params["item_id"], 1)[0]
        return self._page(request, item["title"] or item["item_id"], [], merchant=item["merchant_id"], item=item)

    def _rows(self, column: str, value: str, most: int) -> list[dict[str, Any]]:
        found = self._catalog.filter(pc.equal(self._catalog[column], pa.scalar(value, pa.string())))
        if not len(found):
            raise RefusalError("NOT_FOUND", f"the catalog has no {column} {value!r:.140}", Reason.UNKNOWN_ITEM)
        return [dict(row) for row in found.slice(0, most).to_pylist()]

    def _base(self, request: Request) -> str:
        return self._public_url or str(request.base_url).rstrip("/")

    def _page(self, request: Request, title: str, links: list[tuple[str, str]], **about: Any) -> Response:
        shown = {"merchant": None, "item": None} | about
        return HTMLResponse(self._template.render(title=title, links=links, base=self._base(request), **shown))
