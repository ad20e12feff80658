"""Run the HTTP server until it is stopped."""

import logging
import signal

import uvicorn

from data.workspace import Workspace
from gateway.errors import GatewayError
from gateway.server.processes import reserve_port
from gateway.settings.web import WebSettings
from gateway.web.app import make_app
from gateway.web.shop import ITEM_URL
from gateway.web.signing import read_or_make_key

logger = logging.getLogger(__name__)

_KEEP_ALIVE_SECONDS = 15
_DRAIN_SECONDS = 5
_BACKLOG = 512


def run_web(settings: WebSettings, workspace: Workspace) -> None:
    """Serve until SIGTERM or SIGINT; what has begun is finished first.

    Args:
        workspace: keeps the key of click addresses in `web.key`.
    Raises:
        TandemError: no catalog for the shop or the pages, a taken port, a certificate or key that cannot be read.
    """
    if settings.shop and not settings.item_url:
        settings = settings.changed(item_url=(settings.public_url or "") + ITEM_URL)
    key = read_or_make_key(workspace.root / "web.key")
    app = make_app(settings, key, workspace)
    config = uvicorn.Config(
        app,
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=_DRAIN_SECONDS,
        ssl_certfile=settings.certificate,
        ssl_keyfile=settings.key,
        limit_concurrency=4 * settings.in_flight,
    )
    listening = reserve_port(settings.host, settings.port)
    listening.listen(_BACKLOG)
    try:
        config.load()
    except OSError as error:
        raise GatewayError(f"certificate and key: expected PEM files that fit, found {error}") from None
    scheme, place = "https" if settings.certificate else "http", listening.getsockname()
    at = f"{scheme}://{settings.host}:{place[1]}"
    pages = (f"; {at}/shop" if settings.shop else "") + (f"; {at}/ui" if settings.ui else "")
    logger.info("listening on %s for the gateway at %s%s", at, settings.gateway, pages)
    for number in (signal.SIGTERM, signal.SIGINT):  # uvicorn raises what it caught once more after its end
        signal.signal(number, lambda *_: None)
    uvicorn.Server(config).run(sockets=[listening])
    logger.info("stopped listening on %s", at)
