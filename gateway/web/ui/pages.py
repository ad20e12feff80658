"""The routes of `/ui`."""

from importlib.resources import files
from pathlib import Path

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from data.workspace import Workspace
from gateway.web.ui.asking import Asked
from gateway.web.ui.banner import BannerView
from gateway.web.ui.counters import Counters
from gateway.web.ui.experiment import ExperimentView
from gateway.web.ui.guard import PARAMETER, Guard, given_token
from gateway.web.ui.live import LiveView
from gateway.web.ui.models import ModelsView
from gateway.web.ui.plan import PlanView
from gateway.web.ui.shell import Endpoint, Shell

_SCRIPT_SECONDS = 300


class Ui:
    """The pages. Every banner they ask for is a preview: nothing is logged, and nothing can be changed here."""

    def __init__(
        self,
        workspace: Workspace,
        asked: Asked,
        place: str,
        populations: Path,
        guard: Guard,
        counters: Counters | None = None,
    ) -> None:
        """`place`: a sentence about where banners come from. `counters`: of the gateway."""
        self._shell, self._guard = Shell(workspace), guard
        self.experiment = ExperimentView(self._shell)
        self._views: dict[str, Endpoint] = {
            "banner": BannerView(self._shell, asked, place, populations).page,
            "experiment": self.experiment.page,
            "models": ModelsView(self._shell).page,
            "live": LiveView(self._shell, counters).page,
            "plan": PlanView(self._shell, self.experiment).page,
        }
        self._script = (files("gateway.web.ui") / "static" / "ui.js").read_text()

    def routes(self) -> list[Route]:
        told = self._shell.told_plainly
        pages = [Route(f"/ui/{name}", self._guarded(told(name, view))) for name, view in self._views.items()]
        exports = [
            Route(f"/ui/experiment.{form}", self._guarded(told("experiment", view)))
            for form, view in (("json", self.experiment.json), ("csv", self.experiment.csv))
        ]
        return [
            Route("/ui", self._guarded(self.home)),
            Route("/ui/report", self._guarded(self._moved)),
            Route("/ui/login", self._login, methods=["GET", "POST"]),
            Route("/ui/ui.js", self._give_script),
            *pages,
            *exports,
        ]

    def _guarded(self, endpoint: Endpoint) -> Endpoint:
        async def answer(request: Request) -> Response:
            if PARAMETER in request.query_params:
                return await self._login(request)
            return self._asks_for_login(request) if self._guard.refuses(request) else await endpoint(request)

        return answer

    def _asks_for_login(self, request: Request) -> Response:
        if "text/html" not in request.headers.get("accept", "text/html"):
            headers = {"WWW-Authenticate": "Bearer"}
            return Response("expected a token of method ui\n", 401, headers, media_type="text/plain")
        return self._shell.page("login.html", 401, back=given_token(request, b"")[1], wrong=False, mark="")

    async def _login(self, request: Request) -> Response:
        token, back = given_token(request, await request.body())
        found = self._guard.login(token, back, request.url.scheme == "https") if token else None
        if found is None and not token and request.method == "GET" and not self._guard.refuses(request):
            return RedirectResponse("/ui/banner", 307)
        return found or self._shell.page("login.html", 401, back=back, wrong=bool(token), mark="")

    async def home(self, request: Request) -> Response:
        """To the first page."""
        return RedirectResponse("/ui/banner", 307)

    async def _moved(self, request: Request) -> Response:
        return RedirectResponse("/ui/experiment", 308)

    async def _give_script(self, request: Request) -> Response:
        headers = {"Cache-Control": f"public, max-age={_SCRIPT_SECONDS}"}
        return Response(self._script, media_type="text/javascript", headers=headers)
