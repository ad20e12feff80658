"""`tandem report` measures an experiment from a workspace's log; `tandem plan` says how long it must run."""

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from data.console import DEFAULT_WORKSPACE, TIMES, JsonOption, WorkspaceOption, console, write_figures


def add_commands(root: typer.Typer) -> None:
    """Add `report` to the command line."""
    root.command("report", help="Measure an experiment: health, uplift, source share, sales, popularity, latency.")(
        report
    )
    root.command("plan", help="How many users, and how many days, does a test need?")(plan)


def report(
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    experiment: Annotated[str | None, typer.Option(help="Its name; by default the one with most displays.")] = None,
    since: Annotated[datetime | None, typer.Option(formats=TIMES, help="Displays from this moment on (UTC).")] = None,
    until: Annotated[datetime | None, typer.Option(formats=TIMES, help="Displays before this moment (UTC).")] = None,
    baseline: Annotated[str | None, typer.Option(help="The population to compare with; A, or the first.")] = None,
    populations: Annotated[
        Path | None, typer.Option(help="The experiment's file, to check the split; known if the default one served.")
    ] = None,
    window_days: Annotated[
        int | None,
        typer.Option(
            "--attribution-days",
            min=1,
            help="A sale longer than this after the click is nobody's; by default as trained (30).",
        ),
    ] = None,
    same_item: Annotated[
        bool | None, typer.Option("--same-item", help="Only a click on the item that was sold earns a sale.")
    ] = None,
    landed: Annotated[
        bool | None, typer.Option("--last-landed", help="Only a click that reached the merchant's page earns a sale.")
    ] = None,
    metric: Annotated[
        str, typer.Option(help="What decides the verdict: landed_clicks, sales or order_value.")
    ] = "landed_clicks",
    expected_users: Annotated[
        int | None, typer.Option(min=2, help="Users planned, of the two populations compared (see `tandem plan`).")
    ] = None,
    looks: Annotated[
        int | None, typer.Option(min=1, max=100, help="Looks planned, evenly until the expected users are there.")
    ] = None,
    pocock: Annotated[bool, typer.Option("--pocock", help="Looks spend the error evenly, not late.")] = False,
    first_days: Annotated[
        int | None, typer.Option(min=1, help="Count each user's first so many days alone, once they are over.")
    ] = None,
    bootstrap: Annotated[bool, typer.Option("--bootstrap", help="Intervals by drawing users anew, too.")] = False,
    surface: Annotated[
        str, typer.Option(help="Which answers: banners, candidates or similar (items); all.")
    ] = "banners",
    by: Annotated[str | None, typer.Option(help="Also by segment: device, country, merchant or day.")] = None,
    diversity: Annotated[
        bool, typer.Option("--diversity", help="Also coverage, popularity and variety of what users are shown.")
    ] = False,
    csv: Annotated[Path | None, typer.Option(help="Also write the comparisons as CSV.")] = None,
    users: Annotated[Path | None, typer.Option(help="Also write one row per user as Parquet.")] = None,
    html: Annotated[Path | None, typer.Option(help="Also write the report as one HTML page.")] = None,
    json_path: JsonOption = None,
) -> None:
    from data.workspace import Workspace
    from gateway.experiment.exports import report_figures, write_csv, write_users
    from gateway.experiment.reports import kept_attribution, report_of
    from gateway.experiment.tables import print_report

    rule = {"window_days": window_days, "same_item": same_item, "to": "last landed" if landed else None}
    found = report_of(
        workspace,
        experiment=experiment,
        baseline=baseline,
        since=since,
        until=until,
        populations=populations,
        attribution=kept_attribution(Workspace(workspace)).changed(
            **{name: value for name, value in rule.items() if value is not None}
        ),
        metric=metric,
        expected_users=expected_users,
        looks=looks,
        spending="pocock" if pocock else "obrien-fleming",
        first_days=first_days,
        bootstrap=bootstrap,
        surface={"banners": "", "all": None}.get(surface, surface),
        by=by,
        diversity=diversity,
    )
    print_report(found)
    if csv is not None:
        write_csv(found, csv)
    if users is not None:
        write_users(found, users)
    if html is not None:
        from gateway.pages.page import write_page

        write_page(found, html)
        console.print(f"\npage: {html}", highlight=False, soft_wrap=True)
    write_figures(json_path, report_figures(found))


def plan(
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    uplift: Annotated[float, typer.Option(help="The relative uplift that the test should see: 0.05 for 5 %.")] = 0.05,
    power: Annotated[float, typer.Option(help="In what share of tests it should be seen, 0.5 to 0.999.")] = 0.8,
    experiment: Annotated[str | None, typer.Option(help="Its name; by default the one with most displays.")] = None,
    populations: Annotated[Path | None, typer.Option(help="The experiment's file: shares and sources.")] = None,
    mean: Annotated[float | None, typer.Option(help="Before a test: the metric's mean per user.")] = None,
    deviation: Annotated[float | None, typer.Option(help="Before a test: its standard deviation over users.")] = None,
    share: Annotated[float, typer.Option(min=0.001, max=0.999, help="Before a test: the users treated.")] = 0.5,
    json_path: JsonOption = None,
) -> None:
    from gateway.experiment.exports import as_json
    from gateway.experiment.model import ReportError
    from gateway.experiment.planning import plan_from, plan_of
    from gateway.experiment.reports import report_of
    from gateway.experiment.statistics.power import Plan
    from gateway.experiment.tables import print_plan

    if (mean is None) != (deviation is None):
        raise ReportError("--mean and --deviation belong together; expected both, or neither to plan from the log")
    if mean is not None and deviation is not None:
        if experiment is not None or populations is not None:
            raise ReportError("--mean plans without a log; expected no --experiment and no --populations beside it")
        wanted = plan_from(mean, deviation, uplift, share, power)
        if isinstance(wanted, Plan):
            told = f"{wanted.users:,} users in both populations for one look at the end; "
            console.print(f"{told}{wanted.sequential_users:,} to look daily (--expected-users)")
        else:
            console.print(str(wanted))
        write_figures(json_path, {"plan": as_json(wanted)})
        return
    found = plan_of(report_of(workspace, experiment=experiment, populations=populations), uplift, power)
    print_plan(found, uplift, power)
    write_figures(json_path, {"planned": as_json(found)})
