"""`tandem evaluate-policy`: what would another ranker, mix of sources or exploration have brought?"""

from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from data.console import DEFAULT_WORKSPACE, TIMES, JsonOption, WorkspaceOption, write_figures


class Order(StrEnum):
    """Whose order fills the places."""

    bundle = "bundle"
    ranker = "ranker"
    sources = "sources"


def add_commands(root: typer.Typer) -> None:
    """Add `evaluate-policy` to the command line."""
    told = "What would another ranker, mix of sources or exploration have brought? From a log that explored."
    root.command("evaluate-policy", help=told)(evaluate)


def evaluate(
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    uniform: Annotated[bool, typer.Option("--uniform", help="Of a uniform draw among the same items.")] = False,
    bundle: Annotated[Path | None, typer.Option(help="Of this bundle's banners; by default that in service.")] = None,
    sources: Annotated[str | None, typer.Option(help="Of these sources alone, as gbo,led.")] = None,
    order: Annotated[Order, typer.Option(help="Whose order fills the places.")] = Order.bundle,
    temperature: Annotated[
        float, typer.Option(min=0.0, help="Draw places by softmax of the scores over this; 0: best first.")
    ] = 0.0,
    among: Annotated[int | None, typer.Option(min=1, help="With --temperature: draw among the best so many.")] = None,
    places: Annotated[int | None, typer.Option(min=1, help="Count the first so many places alone.")] = None,
    experiment: Annotated[str | None, typer.Option(help="Its name; by default the one with most displays.")] = None,
    population: Annotated[str | None, typer.Option(help="Whose banners; by default all that explored.")] = None,
    since: Annotated[datetime | None, typer.Option(formats=TIMES, help="Displays from this moment on (UTC).")] = None,
    until: Annotated[datetime | None, typer.Option(formats=TIMES, help="Displays before this moment (UTC).")] = None,
    most: Annotated[int, typer.Option(min=1, help="The newest so many displays.")] = 50_000,
    csv: Annotated[Path | None, typer.Option(help="Also write a row per metric and estimator as CSV.")] = None,
    json_path: JsonOption = None,
) -> None:
    from data.workspace import Workspace
    from gateway.experiment.exports import write_table
    from gateway.off_policy.logged import OffPolicyError
    from gateway.off_policy.reports import evaluate_policy, policy_figures, print_policy
    from gateway.off_policy.targets import RecommendedPolicy, Target, UniformPolicy

    target: Target = UniformPolicy()
    if not uniform:
        names = None if sources is None else tuple(one.strip() for one in sources.split(","))
        target = RecommendedPolicy(bundle or Workspace(workspace).current, names, order.value, temperature, among)
    elif bundle is not None or sources is not None or temperature or order is not Order.bundle:
        raise OffPolicyError(
            "--uniform draws among the log's items; expected no --bundle, --sources or order beside it"
        )
    found = evaluate_policy(
        workspace,
        target,
        experiment=experiment,
        population=population,
        since=since,
        until=until,
        places=places,
        most=most,
    )
    print_policy(found)
    if csv is not None:
        write_table(found.table(), csv)
    write_figures(json_path, policy_figures(found))
