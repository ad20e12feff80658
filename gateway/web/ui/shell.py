"""What every page of `/ui` has: navigation, style, headers, and a sentence where it cannot be shown."""

from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any

from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from data.errors import TandemError
from data.workspace import Workspace
from gateway.errors import RefusalError
from gateway.pages.page import report_environment
from gateway.web.responses import http_status_of

PAGES = {"banner": "Banner", "experiment": "Experiment", "models": "Models", "live": "Live", "plan": "Plan"}
HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'unsafe-inline'; script-src 'self'; img-src http: https: data:; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
}

Endpoint = Callable[[Request], Awaitable[Response]]


class Shell:
    """Renders the pages' templates."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self._environment = report_environment("gateway.web.ui", "gateway.pages")
        styles = (self._environment.get_template(name).render() for name in ("report.css", "ui.css"))
        self._style = Markup("\n".join(styles))

    def page(
        self, template: str, status: int = 200, headers: dict[str, str] | None = None, **context: Any
    ) -> HTMLResponse:
        """`context`: what the template needs; `current`: the page's name in PAGES."""
        given = {"style": self._style, "pages": PAGES, "layout": "ui.html", "current": "", "mark": self._mark()}
        text = self._environment.get_template(template).render(**given | context)
        return HTMLResponse(text, status, HEADERS | (headers or {}))

    def told_plainly(self, name: str, endpoint: Endpoint) -> Endpoint:
        """The endpoint; what it refuses is a page with the sentence."""

        @wraps(endpoint)
        async def answer(request: Request) -> Response:
            try:
                return await endpoint(request)
            except TandemError as error:
                status = http_status_of(error) if isinstance(error, RefusalError) else 409
                return self.page("refused.html", status, current=name, title=PAGES[name], sentence=str(error))

        return answer

    def _mark(self) -> str:
        try:
            return self.workspace.origin().mark
        except TandemError:
            return ""
