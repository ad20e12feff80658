"""`/ui/experiment`: the report, with the choices that `tandem report` has; the same as JSON and CSV."""

import io
import json
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any
from urllib.parse import urlencode

import pyarrow.csv as pacsv
import pyarrow.parquet as pq
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from data.workspace import Workspace
from gateway.experiment.exports import report_figures, uplift_table
from gateway.experiment.model import METRICS, Report
from gateway.experiment.reports import report_of
from gateway.experiment.segments import BY
from gateway.pages.page import report_context
from gateway.web.banner import parameters
from gateway.web.responses import bad_request
from gateway.web.ui.measuring import Measurements, Running
from gateway.web.ui.shell import HEADERS, Shell

_FIELDS = ("experiment", "baseline", "metric", "by", "since", "until", "expected_users")
_PATIENCE = 0.15
_AGAIN_SECONDS = 2
_MOST_USERS = 10**12


@dataclass(frozen=True)
class Measured:
    """A report, and its page."""

    report: Report
    page: Response


class ExperimentView:
    """Measures what is asked for, and shows it."""

    def __init__(self, shell: Shell) -> None:
        self._shell = shell
        self._measurements: Measurements[Measured] = Measurements()

    def warm(self) -> None:
        """Begin to measure what is asked for first."""
        self._measured({}, 0.0)

    async def page(self, request: Request) -> Response:
        given = _given(request)
        found = await run_in_threadpool(self._measured, given, _PATIENCE)
        if isinstance(found, Measured):
            return found.page
        return self._shell.page(
            "measuring.html",
            202,
            {"Refresh": str(_AGAIN_SECONDS)},
            current="experiment",
            title="Experiment",
            displays=await run_in_threadpool(displays_logged, self._shell.workspace),
            seconds=found.seconds,
        )

    async def json(self, request: Request) -> Response:
        report = await self.report(_given(request))
        if isinstance(report, Running):
            return _later(report)
        text = await run_in_threadpool(lambda: json.dumps(report_figures(report)))
        return Response(text, media_type="application/json", headers=HEADERS | _attached("report.json"))

    async def csv(self, request: Request) -> Response:
        report = await self.report(_given(request))
        if isinstance(report, Running):
            return _later(report)
        sink = io.BytesIO()
        pacsv.write_csv(uplift_table(report), sink)
        return Response(sink.getvalue(), media_type="text/csv", headers=HEADERS | _attached("report.csv"))

    async def report(self, given: dict[str, str], patience: float = 60.0) -> Report | Running:
        """Raises TandemError: there is nothing to report."""
        found = await run_in_threadpool(self._measured, given, patience)
        return found.report if isinstance(found, Measured) else found

    def _measured(self, given: dict[str, str], patience: float) -> Measured | Running:
        return self._measurements.ask(tuple(sorted(given.items())), partial(self._measure, given), patience)

    def _measure(self, given: dict[str, str]) -> Measured:
        wanted: dict[str, Any] = given | {"diversity": True}
        for name in ("since", "until"):
            if name in given:
                wanted[name] = datetime.fromisoformat(given[name])
        if "expected_users" in given:
            wanted["expected_users"] = int(given["expected_users"])
        report = report_of(self._shell.workspace, **wanted)
        query = urlencode(given)
        page = self._shell.page(
            "experiment.html",
            current="experiment",
            asked=dict.fromkeys(_FIELDS, "") | given,
            segments_by=BY,
            query=f"?{query}" if query else "",
            **report_context(report),
        )
        return Measured(report, page)


def displays_logged(workspace: Workspace) -> int:
    """The displays in the log's segments, from their footers."""
    return sum(pq.read_metadata(path).num_rows for path in workspace.log.glob("displays/*/*.parquet"))


def _given(request: Request) -> dict[str, str]:
    """Raises WebRefusal: an unknown parameter, or a value that is none of its kind."""
    given = {name: value.strip() for name, value in parameters(request.query_params, _FIELDS).items() if value.strip()}
    for name in ("since", "until"):
        try:
            datetime.fromisoformat(given.get(name, "2026-01-01"))
        except ValueError:
            raise bad_request(f"{name} is {given[name]!r:.40}; expected a day such as 2026-01-31") from None
    users = given.get("expected_users", "2")
    if not (users.isascii() and users.isdigit() and 2 <= int(users[:15]) < _MOST_USERS):
        raise bad_request(f"expected_users is {users!r:.40}; expected a number from 2")
    for name, known in (("metric", [one.key for one in METRICS]), ("by", BY)):
        if given.get(name, known[0]) not in known:
            raise bad_request(f"{name} is {given[name]!r:.40}; expected one of {', '.join(known)}")
    return given


def _later(found: Running) -> Response:
    told = f"the report is being measured since {found.seconds:.0f} s; ask again\n"
    return Response(told, 503, HEADERS | {"Retry-After": str(_AGAIN_SECONDS)}, media_type="text/plain")


def _attached(name: str) -> dict[str, str]:
    return {"Content-Disposition": f'attachment; filename="{name}"'}
