"""The sub-commands of `tandem ranker`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

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
from ranker.banner.options import SaleDaysOption, SaleWeightOption, ServeOption
from ranker.comparison.cli import add_commands as add_tabular_commands
from ranker.profiling.cli import add_commands as add_profile_command
from ranker.tables import calibration_table, guard_table, metrics_table
from ranker.training.cli import add_commands as add_distributed_commands
from ranker.updates.cli import add_commands as add_update_command

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

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
        min=0, help="Minutes until a display's outcome is known; by default 30, of sales 30 days.", show_default=False
    ),
]


@app.command("train")
def train_command(
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    origin: OriginOption = None,
    label: LabelOption = "click",
    model: Annotated[
        Literal["auto", "dlrm", "logistic"],
        typer.Option(help="auto: on displays logistic unless dlrm is surely better on later ones, else dlrm."),
    ] = "auto",
    seed: SeedOption = 0,
    epochs: Annotated[int | None, typer.Option(min=1, help="At most so many passes over the rows.")] = None,
    processes: Annotated[
        int, typer.Option(min=1, max=1024, help="On this host, the embedding tables spread over them.")
    ] = 1,
    threads: Annotated[int, typer.Option(min=1, help="Of torch in each; one gives the same model twice.")] = 1,
    wait: WaitOption = None,
    baselines: Annotated[
        bool, typer.Option("--baselines/--no-baselines", help="Also train the logistic regression, to compare.")
    ] = True,
    tables: TablesOption = None,
    serve: ServeOption = None,
    sale_weight: SaleWeightOption = None,
    sale_days: SaleDaysOption = None,
    config_file: Annotated[
        Path | None, typer.Option("--config", help="Options of network and features (YAML): configs/banner.yaml.")
    ] = None,
    json_file: JsonOption = None,
) -> None:
    """Train the ranker from scratch and put it into service in a new bundle.

    Shows its metrics on later rows beside its baselines'. `tandem ranker update` goes on from the ranker in service.
    """
    from ranker.banner.bundling import train_bundle
    from ranker.banner.settings import BannerSettings, read_banner_settings
    from ranker.banner.training import RankerConfig, served_metrics
    from ranker.training.settings import BANNER

    place = Workspace(workspace)
    settings = read_banner_settings(config_file) if config_file else BannerSettings()
    training = settings.network.of(BANNER, str(config_file or "settings"))
    training = training.changed(epochs=epochs or training.epochs)
    objectives, attribution = settings.objectives, settings.attribution
    config = RankerConfig(
        model=model,
        training=training,
        label=label,
        baselines=baselines,
        tables=tables,
        processes=processes,
        threads=threads,
        serve=serve or settings.serve,
        objectives=objectives if sale_weight is None else objectives.changed(sale=sale_weight),
        attribution=attribution if sale_days is None else attribution.changed(window_days=sale_days),
    )
    bundle = train_bundle(place, origin, config, seed, wait, settings.specification())
    figures = bundle.metrics["ranker"]
    rows = figures["examples"]
    title = f"{rows['test']:,} later rows of {rows['test_requests']:,} requests"
    console.print(metrics_table(figures, title, place.origin().name))
    console.print(calibration_table(served_metrics(figures)))
    console.print(guard_table(figures["guard"]))
    console.print(f"bundle {bundle.version} is in service, its ranker trained on {rows['train']:,} rows")
    write_figures(json_file, {"bundle": bundle.version, **figures})


@app.command("evaluate")
def evaluate_command(
    run: Annotated[
        Path | None, typer.Argument(help="A run of `tandem ranker fit`; by default the ranker in service.")
    ] = None,
    rows: Annotated[
        Path | None, typer.Argument(help="With RUN: rows as it learnt from; by default its validation and test rows.")
    ] = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    origin: OriginOption = None,
    label: Annotated[
        Literal["click", "sale"] | None,
        typer.Option(help="What makes a slot positive; by default what the ranker was trained for."),
    ] = None,
    wait: WaitOption = None,
    json_file: JsonOption = None,
) -> None:
    """Measure the ranker in service on displays it has not learnt from, or on the later pooled examples.

    With RUN that run's network, calibrated on its validation rows, beside the constant rate of the rows.
    """
    if run is not None:
        _evaluate_run(run, rows, json_file)
        return
    from ranker.banner.bundling import evaluate_bundle

    place = Workspace(workspace)
    figures = evaluate_bundle(place, origin, label, wait)
    title = f"{figures['rows']:,} later rows ({figures['origin']}, {figures['label']}s), {figures['tables']} tables"
    console.print(metrics_table(figures, title, place.origin().name))
    console.print(calibration_table(figures["DLRM"]))
    write_figures(json_file, figures)


def _evaluate_run(run: Path, rows: Path | None, json_file: Path | None) -> None:
    from ranker.evaluation.metrics import all_metrics_beside_constant
    from ranker.training.of_run import predicted_splits

    if rows is not None:
        measured = {"rows": _scored(run, rows)}
    else:
        measured = {str(split): (one.label, one.probability()) for split, one in predicted_splits(run).items()}
    figures = {name: all_metrics_beside_constant(*one) for name, one in measured.items()}
    for name, found in figures.items():
        console.print(metrics_table(found, f"{len(measured[name][0]):,} {name} rows", str(rows or run)))
    write_figures(json_file, figures)


def _scored(folder: Path, rows: Path) -> "tuple[NDArray[np.float32], NDArray[np.float64]]":
    """The labels and probabilities of rows."""
    from ranker.serving.standalone import RowScorer

    scorer = RowScorer.load(folder)
    read = scorer.read(rows)
    return read.label, scorer.score(read)


@app.command("export")
def export_command(
    run: Annotated[
        Path | None, typer.Argument(help="A run of `tandem ranker fit`; by default the ranker in service is compiled.")
    ] = None,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    tables: TablesOption = None,
    serve: ServeOption = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="With RUN: a new folder that needs no workspace.")
    ] = None,
    json_file: JsonOption = None,
) -> None:
    """Compile a ranker for this machine: the one in service, or one that `tandem ranker fit` trained.

    Without RUN the ranker in service goes into a new bundle: needed after moving a bundle; with --tables int8 its
    embedding tables are quantised too, and its metrics shown before and after. With RUN its network becomes the ranker
    of a new bundle, if it was trained on rows of `tandem ranker encode`. With --output it goes into a folder that
    `tandem ranker predict` scores rows with.
    """
    if output is not None:
        _export_run(run, output, tables, json_file)
        return
    from ranker.banner.bundling import export_bundle, export_run_to_bundle

    place = Workspace(workspace)
    if run is not None:
        bundle = export_run_to_bundle(place, run, tables, serve or "auto")
        figures = {"bundle": bundle.version, **bundle.metrics["ranker"]}
    else:
        bundle, figures = export_bundle(place, tables)
    if "rows" in figures:
        title = f"{figures['rows']:,} later rows ({figures['origin']})"
        console.print(metrics_table(figures, title, place.origin().name))
    if "guard" in figures:
        console.print(guard_table(figures["guard"]))
    if "bytes" in figures:
        sizes = ", ".join(f"{size / 1e6:,.2f} MB as {kind}" for kind, size in figures["bytes"].items())
        console.print(f"embedding tables: {sizes}", highlight=False)
    console.print(f"bundle {bundle.version} is in service")
    write_figures(json_file, figures)


def _export_run(
    run: Path | None, output: Path, tables: Literal["float32", "int8"] | None, json_file: Path | None
) -> None:
    from ranker.errors import RankerError
    from ranker.serving.standalone import export_run

    if run is None:
        raise RankerError("--output: expected a run of `tandem ranker fit` to write there, found none named")
    compiled = export_run(run, output, tables or "float32")
    console.print(f"{output}: the network of {run}{', compiled for this machine' if compiled else ', not compiled'}")
    write_figures(json_file, {"folder": str(output), "tables": tables or "float32", "compiled": compiled})


@app.command("predict")
def predict_command(
    folder: Annotated[
        Path,
        typer.Argument(
            help="A run of `tandem ranker fit`, or what `tandem ranker export RUN --output FOLDER` wrote.",
            show_default=False,
        ),
    ],
    rows: Annotated[
        Path,
        typer.Argument(
            help="Rows as it learnt from (Criteo's layout, or a log of one's own), or a converted folder.",
            show_default=False,
        ),
    ],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write the probabilities (npy).")] = None,
    json_file: JsonOption = None,
) -> None:
    """Score rows of a click log with a trained network, and measure it on their labels."""
    from data.files import save_array
    from ranker.evaluation.metrics import all_metrics_beside_constant

    label, probability = _scored(folder, rows)
    figures = all_metrics_beside_constant(label, probability)
    console.print(metrics_table(figures, f"{len(label):,} rows", str(rows)))
    if output is not None:
        save_array(output, probability)
    write_figures(json_file, figures)


@app.command("encode")
def encode_command(
    output: Annotated[Path, typer.Option("--output", "-o", help="A new folder.", show_default=False)],
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    origin: OriginOption = None,
    label: LabelOption = "click",
    wait: WaitOption = None,
    config_file: Annotated[
        Path | None, typer.Option("--config", help="Options of the features (YAML): configs/banner.yaml.")
    ] = None,
) -> None:
    """Write the workspace's training rows, encoded, into a folder for `tandem ranker fit`.

    `tandem ranker train` does this, trains and publishes at once; apart, the training can be stopped and gone on with,
    and run on several hosts. `tandem ranker export RUN` puts its network into service.
    """
    from ranker.banner.bundling import encode_rows
    from ranker.banner.preparation import Division
    from ranker.banner.settings import BannerSettings, read_banner_settings

    settings = read_banner_settings(config_file) if config_file else BannerSettings()
    division = Division(label=label)
    prepared = encode_rows(Workspace(workspace), output, origin, division, wait, settings.specification())
    console.print(
        f"{output}: {len(prepared.train):,} training, {len(prepared.validation):,} validation, "
        f"{len(prepared.test):,} test rows",
        highlight=False,
    )


add_update_command(app)
