"""Counts requests over HTTP for `/metrics`, where anybody asks."""

import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.metrics import Metrics

_PATHS = ("/v1/", "/click", "/landing.gif", "/view", "/tandem.js", "/openapi.json", "/health", "/shop", "/ui")


class Counted:
    """Counts by path and status; single pages of the shop and the user interface are one path each."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = time.perf_counter(), 500

        async def sending(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        try:
            await self._app(scope, receive, sending)
        finally:
            path = "other" if status == 404 else _path(scope["path"])
            self._metrics.counter("tandem_http_requests_total", path=path, status=str(status)).add()
            self._metrics.histogram("tandem_http_request_seconds", path=path).observe(time.perf_counter() - began)


def _path(path: str) -> str:
    """Of a bounded number, whatever is asked for."""
    for one in _PATHS:
        if path.startswith(one):
            return path[:40] if one == "/v1/" else one
    return "other"
