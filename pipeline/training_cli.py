"""`tandem train`: both stages on a workspace's events, into a bundle in service."""

from typing import Annotated

import typer

from data.console import DEFAULT_WORKSPACE, JsonOption, SeedOption, WorkspaceOption, console, write_figures
from data.workspace import Workspace


def add_commands(root: typer.Typer) -> None:
    """Add `train` to the command line."""
    root.command("train")(train)


def train(
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    engine: Annotated[str, typer.Option(help="What runs the relational steps: duckdb or spark.")] = "duckdb",
    seed: SeedOption = 0,
    json_file: JsonOption = None,
) -> None:
    """Train both stages on a workspace's events and put the bundle into service.

    Shows the recall of each source on users kept out of training, and the ranker beside its rivals on later requests.
    """
    from candidates.tables import recall_table
    from data.engine import engine_named
    from pipeline.training import TrainingPlan, train_bundle
    from ranker.tables import metrics_table

    place = Workspace(workspace)
    bundle = train_bundle(place, TrainingPlan(engine=engine_named(engine), seed=seed))
    metrics = bundle.metrics
    console.print(recall_table(metrics["candidates"]["recall"], "users kept out of training", place.origin()))
    rows = metrics["ranker"]["examples"]
    console.print(metrics_table(metrics["ranker"], f"{rows['test']:,} later rows", place.origin().name))
    console.print(f"bundle {bundle.version} is in service", highlight=False)
    write_figures(json_file, {"bundle": bundle.version, **metrics})
