"""`/ui/live`: what is served now, from the gateway's metrics and from the newest part of its log."""

from datetime import UTC, datetime
from functools import partial

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from gateway.web.banner import parameters
from gateway.web.ui.counters import Counters
from gateway.web.ui.measuring import Measurements, Running
from gateway.web.ui.recent import Recent, recent_of
from gateway.web.ui.shell import Shell

REFRESH_SECONDS = 5
_FRESH_SECONDS = 2.0
_STALE_SECONDS = 300


class LiveView:
    """Counts at most every few seconds, whoever looks."""

    def __init__(self, shell: Shell, counters: Counters | None) -> None:
        """`counters`: of the gateway; None: the log alone tells."""
        self._shell, self._counters = shell, counters
        self._counted: Measurements[Recent | None] = Measurements(least_seconds=_FRESH_SECONDS)

    async def page(self, request: Request) -> Response:
        again = parameters(request.query_params, ("again",)).get("again", "") != ""
        count = partial(recent_of, self._shell.workspace.log)
        found = await run_in_threadpool(self._counted.ask, "recent", count, 10.0)
        recent = None if isinstance(found, Running) else found
        ago = None if recent is None else (datetime.now(UTC) - recent.newest).total_seconds()
        return self._shell.page(
            "live.html",
            headers={"Refresh": str(REFRESH_SECONDS)} if again else None,
            current="live",
            title="Live",
            counting=isinstance(found, Running),
            counted=self._counters.read() if self._counters else None,
            recent=recent,
            again=again,
            seconds=REFRESH_SECONDS,
            ago=ago,
            stale=ago is not None and abs(ago) > _STALE_SECONDS,
            sources=sorted({source for one in recent.shares.values() for source in one}) if recent else [],
        )
