"""`tandem report`: measure an experiment from a workspace's log."""

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from data.console import DEFAULT_WORKSPACE, JsonOption, WorkspaceOption, console, write_figures

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
    from gateway.experiment.model import report_figures
    from gateway.experiment.reports import report_of
    from gateway.experiment.tables import print_report

    found = report_of(
        workspace, experiment=experiment, baseline=baseline, since=since, until=until, populations=populations
    )
    print_report(found)
    if html is not None:
        from gateway.pages.page import write_page

        write_page(found, html)
        console.print(f"\npage: {html}", highlight=False, soft_wrap=True)
    write_figures(json_path, report_figures(found))
