"""`tandem report`: measure an experiment from a workspace's log."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from data.console import DEFAULT_WORKSPACE, JsonOption, WorkspaceOption, console, write_figures
from data.workspace import Workspace

if TYPE_CHECKING:
    import pyarrow as pa

TIMES = ["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S"]


def add_commands(root: typer.Typer) -> None:
    """Add `report` to the command line."""
    root.command("report", help="Measure an experiment: health, uplift, source share, sales, popularity, latency.")(
        report
    )


def report(
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    experiment: Annotated[str | None, typer.Option(help="Its name; needed if the log holds several.")] = None,
    since: Annotated[datetime | None, typer.Option(formats=TIMES, help="Displays from this moment on (UTC).")] = None,
    until: Annotated[datetime | None, typer.Option(formats=TIMES, help="Displays before this moment (UTC).")] = None,
    baseline: Annotated[str | None, typer.Option(help="The population to compare with; A, or the first.")] = None,
    populations: Annotated[
        Path | None, typer.Option(help="The experiment's file, to check the split; known if the default one served.")
    ] = None,
    html: Annotated[Path | None, typer.Option(help="Also write the report as one HTML page.")] = None,
    json_path: JsonOption = None,
) -> None:
    from gateway.experiment.build import build_report
    from gateway.experiment.model import report_figures
    from gateway.experiment.tables import print_report

    space = Workspace(workspace)
    origin = space.origin()
    displays, tracked = read_log(space)
    if populations is None:
        name, shares = experiment, default_shares(displays, experiment)
    else:
        name, shares = configured_shares(populations, experiment)
    found = build_report(
        displays,
        tracked,
        views_before(space, displays),
        origin,
        shares,
        experiment=name,
        baseline=baseline,
        since=_utc(since),
        until=_utc(until),
    )
    print_report(found)
    if html is not None:
        from gateway.pages.page import write_page

        write_page(found, html)
        console.print(f"\npage: {html}", highlight=False, soft_wrap=True)
    write_figures(json_path, report_figures(found))


def read_log(space: Workspace) -> "tuple[pa.Table, pa.Table]":
    """The displays and tracked events of a workspace.

    Raises:
        ReportError: there are no displays.
    """
    from data.eventlog import read_displays, read_tracked
    from gateway.experiment.model import ReportError

    displays = read_displays(space.log)
    if not len(displays):
        raise ReportError(f"{space.log} holds no display yet; start `tandem gateway serve` and send it banner requests")
    return displays, read_tracked(space.log)


def views_before(space: Workspace, displays: "pa.Table") -> "pa.Table":
    """item_id, views: the workspace's views before the first display."""
    import pyarrow.compute as pc

    from data.engine import collect, connect, read_table
    from data.relations import item_counts

    events = read_table(connect("duckdb", threads=2), space.events)
    counts = item_counts(events, by=("item_id",), end=pc.min(displays["ts"]).as_py())
    return collect(counts.select("item_id", "views"))


def configured_shares(path: Path, experiment: str | None = None) -> tuple[str, dict[str, float]]:
    """The experiment's name and its populations' shares, from a populations file.

    Raises:
        ReportError: the file is of another experiment than the one asked for.
    """
    from gateway.experiment.model import ReportError
    from gateway.experiment.populations import load_experiment

    found = load_experiment(path)
    if experiment not in (None, found.name):
        raise ReportError(
            f"{path} is of experiment {found.name!r}; expected one of {experiment!r}, which was asked for"
        )
    return found.name, {one.name: one.share for one in found.populations}


def default_shares(displays: "pa.Table", experiment: str | None) -> dict[str, float] | None:
    """The shares of the populations file that comes with Tandem, if its configuration is the only one that served."""
    from gateway.experiment.populations import DEFAULT_POPULATIONS, load_experiment

    default = load_experiment(DEFAULT_POPULATIONS)
    served = zip(displays["experiment"].to_pylist(), displays["config_hash"].to_pylist(), strict=True)
    hashes = {config for name, config in served if name == (experiment or name)}
    return {one.name: one.share for one in default.populations} if hashes == {default.config_hash} else None


def _utc(moment: datetime | None) -> datetime | None:
    return None if moment is None else moment.replace(tzinfo=UTC)
