"""Run the HTTP server until it is stopped."""

import hashlib
import logging
import signal
import ssl
import threading
import time
from pathlib import Path

import uvicorn
from starlette.applications import Starlette

from data.workspace import Workspace
from gateway.access import Certificates, check_certificates
from gateway.errors import GatewayError
from gateway.experiment.populations import DEFAULT_POPULATIONS
from gateway.server.processes import reserve_port
from gateway.settings.access import TlsSettings, Token
from gateway.settings.web import WebSettings
from gateway.web.app import make_app, make_ui_app
from gateway.web.shop import ITEM_URL
from gateway.web.signing import read_or_make_key
from gateway.web.ui.asking import Here
from gateway.web.ui.counters import Counters
from gateway.web.ui.guard import UI, Guard
from gateway.web.ui.pages import Ui
from gateway.web.upstream import Upstream

logger = logging.getLogger(__name__)

_KEEP_ALIVE_SECONDS = 15
_DRAIN_SECONDS = 5
_BACKLOG = 512
_CERTIFICATES_SECONDS = 1.0


def run_web(settings: WebSettings, workspace: Workspace, populations: Path | None = None) -> None:
    """Serve until SIGTERM or SIGINT; what has begun is finished first.

    Args:
        workspace: keeps the key of click addresses in `web.key`. populations: the gateway's file, for the pages.
    Raises:
        TandemError: no catalog for the shop, a taken port, a certificate or key that cannot be read.
    """
    if settings.shop and not settings.item_url:
        settings = settings.changed(item_url=(settings.public_url or "") + ITEM_URL)
    key = read_or_make_key(workspace.root / "web.key")
    upstream = Upstream(settings)
    ui, link = None, ""
    if settings.ui:
        guard, link = _guard(settings, workspace, key)
        place = f"Answered by the gateway at {settings.gateway}."
        ui = Ui(workspace, upstream, place, populations or DEFAULT_POPULATIONS, guard, Counters.of_the_gateway())
    app = make_app(settings, key, workspace, upstream, ui)
    pages = (("/shop",) if settings.shop else ()) + ((f"/ui{link}",) if settings.ui else ())
    _serve(app, settings, f"listening on {{at}} for the gateway at {settings.gateway}", pages)


def run_ui(workspace: Workspace, populations: Path, port: int) -> None:
    """Serve the pages of `/ui` alone, on this machine, until SIGTERM or SIGINT.

    Raises:
        TandemError: a taken port.
    """
    settings, here = WebSettings(port=port), Here(workspace, populations)
    place = "Assembled here from the bundle in service, without a gateway."
    ui = Ui(workspace, here, place, populations, Guard({}, b""))

    def warm() -> None:
        ui.experiment.warm()
        here.warm()

    _serve(make_ui_app(settings, ui, warm), settings, "listening on {at}", ("/ui",))


def _guard(settings: WebSettings, workspace: Workspace, key: bytes) -> tuple[Guard, str]:
    """Who may see the pages, and what a link to them ends with: the token that the workspace keeps, where the settings
    name none."""
    if any(UI in one.methods for one in settings.tokens.values()):
        return Guard(settings.tokens, key), ""
    token = read_or_make_key(workspace.root / "ui.token").hex()
    own = {"ui.token": Token(sha256=hashlib.sha256(token.encode()).hexdigest(), methods=(UI,))}
    return Guard(own, key), f"?token={token}"


def _serve(app: Starlette, settings: WebSettings, said: str, pages: tuple[str, ...]) -> None:
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
        ssl_ca_certs=None if settings.client_ca is None else str(settings.client_ca),
        ssl_cert_reqs=ssl.CERT_NONE if settings.client_ca is None else ssl.CERT_REQUIRED,
        limit_concurrency=4 * settings.in_flight,
    )
    if settings.tls is not None:
        check_certificates(settings.tls)
    listening = reserve_port(settings.host, settings.port)
    listening.listen(_BACKLOG)
    config.load()
    if settings.tls is not None and config.ssl is not None:
        _follow(Certificates(settings.tls), settings.tls, config.ssl)
    scheme, place = "https" if settings.certificate else "http", listening.getsockname()
    at = f"{scheme}://{settings.host}:{place[1]}"
    logger.info("%s%s", said.format(at=at), "".join(f"; {at}{page}" for page in pages))
    for number in (signal.SIGTERM, signal.SIGINT):  # uvicorn raises what it caught once more after its end
        signal.signal(number, lambda *_: None)
    uvicorn.Server(config).run(sockets=[listening])
    logger.info("stopped listening on %s", at)


def _follow(files: Certificates, settings: TlsSettings, context: ssl.SSLContext) -> None:
    """New connections get the certificates that the files hold then."""
    files.read()

    def follow() -> None:
        while True:
            time.sleep(_CERTIFICATES_SECONDS)
            if files.changed():
                try:
                    files.read()
                    context.load_cert_chain(settings.certificate, settings.key)
                    logger.info("new certificates are in use")
                except (GatewayError, OSError) as error:
                    logger.error("%s; the certificates of before stay in use", error)

    threading.Thread(target=follow, name="certificates", daemon=True).start()
