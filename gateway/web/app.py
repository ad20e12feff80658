"""The HTTP application: routes, and what every request passes on its way to them."""

import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from importlib.resources import files

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from data.workspace import Workspace
from gateway.access import Rates, Tokens
from gateway.errors import RefusalError
from gateway.log.json_lines import HEADER, REQUEST_ID, request_id_of
from gateway.metrics import Metrics
from gateway.settings.web import WebSettings
from gateway.web import api, openapi
from gateway.web.banner import BannerPage
from gateway.web.catalog_view import CatalogView
from gateway.web.clicks import Clicks
from gateway.web.counting import Counted
from gateway.web.responses import WebRefusal, bad_request, on_refusal, refusal_response
from gateway.web.shop import Shop
from gateway.web.signing import Signer
from gateway.web.ui.pages import Ui
from gateway.web.upstream import Upstream
from gateway.wire import Reason
from proto.tandem.v1 import tandem_pb2 as pb

logger = logging.getLogger(__name__)

_SCRIPT_SECONDS = 300


def make_app(settings: WebSettings, key: bytes, workspace: Workspace, upstream: Upstream, ui: Ui | None) -> Starlette:
    """The whole application.

    Args:
        key: of click addresses. workspace: its catalog is the example shop's. upstream: the gateway. ui: the pages of
            `/ui`.
    Raises:
        DataError: the shop is asked for and the workspace holds no catalog.
    """
    tokens, signer = Tokens(settings.tokens), Signer(key)
    banner, clicks = BannerPage(settings, upstream, signer), Clicks(settings, upstream, signer)
    metrics, rates = Metrics.of_this_process(), Rates(settings.rate) if settings.rate is not None else None
    described = openapi.document(bool(settings.tokens))
    script = (files("gateway.web") / "static" / "tandem.js").read_text()

    async def give_script(request: Request) -> Response:
        headers = {"Cache-Control": f"public, max-age={_SCRIPT_SECONDS}"}
        return Response(script, media_type="text/javascript", headers=headers)

    async def give_description(request: Request) -> Response:
        return JSONResponse(described)

    async def health(request: Request) -> Response:
        """200 if the gateway behind answers calls; an empty Track is one."""
        await upstream.call("track", pb.TrackRequest())
        return JSONResponse({"status": "SERVING"})

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        upstream.open()
        yield
        await upstream.close()

    return Starlette(
        routes=[
            *api.routes(upstream, tokens, rates),
            Route("/v1/banner.html", banner.get),
            Route("/click", clicks.click),
            Route("/landing.gif", clicks.landing),
            Route("/view", clicks.view, methods=["POST"]),
            Route("/tandem.js", give_script),
            Route("/openapi.json", give_description),
            Route("/health", health),
            *(Shop(CatalogView(workspace), settings.public_url).routes() if settings.shop else []),
            *(ui.routes() if ui else []),
        ],
        middleware=[
            Middleware(
                CORSMiddleware,
                allow_origins=list(settings.origins),
                allow_methods=["GET", "POST"],
                allow_headers=["Authorization", "Content-Type"],
            ),
            Middleware(Limits, settings=settings),
            *([Middleware(Counted, metrics=metrics)] if metrics is not None else []),
        ],
        exception_handlers={RefusalError: on_refusal, HTTPException: _on_http},
        lifespan=lifespan,
    )


def make_ui_app(settings: WebSettings, ui: Ui, warm: Callable[[], None]) -> Starlette:
    """The pages of `/ui` alone. `warm`: called at the start."""

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        warm()
        yield

    return Starlette(
        routes=[Route("/", ui.home), *ui.routes()],
        middleware=[Middleware(Limits, settings=settings)],
        exception_handlers={RefusalError: on_refusal, HTTPException: _on_http},
        lifespan=lifespan,
    )


class Limits:
    """Refuses one request too many and a body too long; adds the headers that every answer has."""

    def __init__(self, app: ASGIApp, settings: WebSettings) -> None:
        self._app, self._settings, self._running = app, settings, 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if self._running >= self._settings.in_flight:
            sentence = f"{self._running} requests are being answered; expected fewer than {self._settings.in_flight}"
            refusal = WebRefusal(503, "RESOURCE_EXHAUSTED", sentence, Reason.TOO_MANY_REQUESTS)
            await refusal_response(refusal)(scope, receive, send)
            return
        self._running += 1
        given = dict(scope["headers"]).get(HEADER.encode(), b"").decode("latin-1")
        REQUEST_ID.set(request_id_of(given))
        try:
            await self._app(scope, _bounded(receive, self._settings.body_bytes), _with_headers(send))
        except Exception:
            logger.exception("%s %s failed", scope["method"], scope["path"][:200])
            fault = RefusalError("INTERNAL", "the server failed; its log says why", Reason.INTERNAL)
            await refusal_response(fault)(scope, receive, send)
        finally:
            self._running -= 1


def _bounded(receive: Receive, most: int) -> Receive:
    read = 0

    async def bounded() -> Message:
        nonlocal read
        message = await receive()
        read += len(message.get("body", b""))
        if read > most:
            raise bad_request(f"the body is longer than {most} bytes; expected a shorter one", 413)
        return message

    return bounded


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            own = ((b"x-content-type-options", b"nosniff"), (HEADER.encode(), REQUEST_ID.get().encode()))
            message["headers"] = [*message["headers"], *own]
        await send(message)

    return sending


async def _on_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    said = f"{request.method} {request.url.path[:200]}: {error.detail}"
    status = "NOT_FOUND" if error.status_code == 404 else "INVALID_ARGUMENT"
    response = refusal_response(WebRefusal(error.status_code, status, said))
    response.headers.update(error.headers or {})
    return response
