"""The sub-commands of `tandem ranker`."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import typer

from data.console import (
    DEFAULT_WORKSPACE,
    JsonOption,
    SeedOption,
    WorkspaceOption,
    console,
    write_figures,
)
from data.workspace import Workspace
from ranker.comparison.cli import add_commands as add_tabular_commands
from ranker.profiling.cli import add_commands as add_profile_command
from ranker.tables import calibration_table, metrics_table
from ranker.training.cli import add_commands as add_distributed_commands
from ranker.updates.cli import add_commands as add_update_command

app = typer.Typer(no_args_is_help=True)
add_tabular_commands(app)
add_distributed_commands(app)
add_profile_command(app)

OriginOption = Annotated[
    Literal["log", "timelines", "both"] | None,
    typer.Option("--from", help="The display log, examples pooled from timelines, or both. Default: what there is."),
]
LabelOption = Annotated[
    Literal["click", "sale"],
    typer.Option(help="A logged slot is positive if its click landed, or if that led to a sale."),
]

TablesOption = Annotated[
    Literal["float32", "int8"] | None,
    typer.Option(help="How the embedding tables are served; int8 keeps a scale and a bias per row."),
]

WaitOption = Annotated[
    float | None,
    typer.Option(
        min=0, help="Minutes until a display's outcome is known; by default 30, of sales a week.", show_default=False
    ),
]


@app.command("train")
def train_command(
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    origin: OriginOption = None,
    label: LabelOption = "click",
    seed: SeedOption = 0,
    epochs: Annotated[int | None, typer.Option(min=1, help="At most so many passes over the rows.")] = None,
    threads: Annotated[int, typer.Option(min=1, help="Of torch; one gives the same model twice.")] = 1,
    wait: WaitOption = None,
    rivals: Annotated[bool, typer.Option(help="Also train the logistic regression, to compare.")] = True,
    tables: TablesOption = None,
    config_file: Annotated[
        Path | None, typer.Option("--config", help="Options of network and features (YAML): configs/banner.yaml.")
    ] = None,
    json_file: JsonOption = None,
) -> None:
    """Train DLRM from scratch and put it into service in a new bundle.

    Shows its metrics on later rows beside its rivals'. `tandem ranker update` goes on from the ranker in service.
    """
    from ranker.banner.bundling import train_bundle
    from ranker.banner.settings import BannerSettings, read_banner_settings
    from ranker.banner.training import RankerConfig

    place = Workspace(workspace)
    settings = read_banner_settings(config_file) if config_file else BannerSettings()
    config = RankerConfig(label=label, rivals=rivals, tables=tables)
    training = settings.network.of(config.training)
    training = replace(training, threads=threads, epochs=epochs or training.epochs)
    config = replace(config, training=training)
    bundle = train_bundle(place, origin, config, seed, wait, settings.specification())
    figures = bundle.metrics["ranker"]
    rows = figures["examples"]
    title = f"{rows['test']:,} later rows of {rows['test_requests']:,} requests"
    console.print(metrics_table(figures, title, place.origin().name))
    console.print(calibration_table(figures["DLRM"]))
    console.print(f"bundle {bundle.version} is in service, its ranker trained on {rows['train']:,} rows")
    write_figures(json_file, {"bundle": bundle.version, **figures})


@app.command("evaluate")
def evaluate_command(
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    origin: OriginOption = None,
    label: Annotated[
        Literal["click", "sale"] | None,
        typer.Option(help="What makes a slot positive; by default what the ranker was trained for."),
    ] = None,
    wait: WaitOption = None,
    json_file: JsonOption = None,
) -> None:
    """Measure the ranker in service on displays it has not learnt from, or on the later pooled examples."""
    from ranker.banner.bundling import evaluate_bundle

    place = Workspace(workspace)
    figures = evaluate_bundle(place, origin, label, wait)
    title = f"{figures['rows']:,} later rows ({figures['origin']}, {figures['label']}s), {figures['tables']} tables"
    console.print(metrics_table(figures, title, place.origin().name))
    console.print(calibration_table(figures["DLRM"]))
    write_figures(json_file, figures)


@app.command("export")
def export_command(
    workspace: WorkspaceOption = DEFAULT_WORKSPACE, tables: TablesOption = None, json_file: JsonOption = None
) -> None:
    """Compile the ranker in service for this machine, into a new bundle: needed after moving a bundle.

    With --tables int8 its embedding tables are quantised too, and its metrics shown before and after.
    """
    from ranker.banner.bundling import export_bundle

    place = Workspace(workspace)
    bundle, figures = export_bundle(place, tables)
    if "rows" in figures:
        title = f"{figures['rows']:,} later rows ({figures['origin']})"
        console.print(metrics_table(figures, title, place.origin().name))
    sizes = ", ".join(f"{size / 1e6:,.2f} MB as {kind}" for kind, size in figures["bytes"].items())
    console.print(f"embedding tables: {sizes}", highlight=False)
    console.print(f"bundle {bundle.version} is in service")
    write_figures(json_file, figures)


add_update_command(app)
