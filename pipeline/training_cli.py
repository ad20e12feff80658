"""`tandem train`: both stages on a workspace's events, into a bundle in service."""

import typer

from data.console import DEFAULT_WORKSPACE, JsonOption, SeedOption, WorkspaceOption, console, notices, write_figures
from data.workspace import Workspace
from pipeline.options import (
    AllowOption,
    ConfigOption,
    EngineOption,
    LedOption,
    LogOption,
    TargetDaysOption,
    TargetsOption,
    plan_of,
)
from ranker.banner.options import SaleDaysOption, SaleWeightOption, ServeOption


def add_commands(root: typer.Typer) -> None:
    """Add `train` to the command line."""
    root.command("train")(train)


def train(
    context: typer.Context,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    config: ConfigOption = None,
    led: LedOption = None,
    targets: TargetsOption = None,
    target_days: TargetDaysOption = None,
    log: LogOption = None,
    engine: EngineOption = "duckdb",
    serve: ServeOption = None,
    sale_weight: SaleWeightOption = None,
    sale_days: SaleDaysOption = None,
    seed: SeedOption = 0,
    allow: AllowOption = False,
    json_file: JsonOption = None,
) -> None:
    """Train both stages on a workspace's events and the gateway's log, and put the bundle into service.

    Shows the recall of each source on users kept out of training, and the ranker beside its baselines on later
    requests. The workspace keeps the settings for its next training.
    """
    from candidates.tables import contenders_table, merge_table, recall_table
    from data.learning import EventCounts
    from pipeline.training import train_bundle, warnings_about_ranker
    from ranker.tables import guard_table, metrics_table

    place = Workspace(workspace)
    plan = plan_of(context)
    bundle = train_bundle(place, plan, allow=allow)
    plan.keep(place)
    metrics = bundle.metrics
    console.print(f"learnt from {EventCounts(**metrics['events'])}", highlight=False)
    console.print(contenders_table(metrics["candidates"]))
    console.print(recall_table(metrics["candidates"]["recall"], "users kept out of training", place.origin()))
    console.print(merge_table(metrics["candidates"]))
    rows = metrics["ranker"]["examples"]
    console.print(metrics_table(metrics["ranker"], f"{rows['test']:,} later rows", place.origin().name))
    console.print(guard_table(metrics["ranker"]["guard"]))
    for sentence in warnings_about_ranker(metrics["ranker"]):
        notices.print(f"[bold yellow]warning:[/] {sentence}", highlight=False, soft_wrap=True)
    console.print(f"bundle {bundle.version} is in service", highlight=False)
    write_figures(json_file, {"bundle": bundle.version, **metrics})
