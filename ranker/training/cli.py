"""`tandem ranker fit` and `figure5`."""

import math
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.table import Table

from data.console import JsonOption, console, notices, table, write_figures

if TYPE_CHECKING:
    from ranker.training.plan import ShardingConstraints
    from ranker.training.settings import TrainingSettings

_ROWS = "A folder of `tandem data criteo`, of `tandem data generate` or of `tandem ranker encode`."
RunOption = Annotated[Path, typer.Option("--output", "-o", help="The run's folder.", show_default=False)]
ConfigOption = Annotated[
    Path | None, typer.Option("--config", help="What to train and how (YAML). [DLRM's own settings for Kaggle]")
]
ProcessesOption = Annotated[
    int | None,
    typer.Option(min=1, max=1024, help="On this host; under torchrun its own number counts. [1, or the resumed run's]"),
]
DeviceOption = Annotated[Literal["cpu", "cuda"], typer.Option(help="cuda takes a GPU for each process.")]
ThreadsOption = Annotated[int | None, typer.Option(min=1, help="Of torch per process. [the cores shared out]")]
ShardingOption = Annotated[
    Path | None, typer.Option("--sharding", help="Constraints of the sharding plan (YAML). [the planner decides]")
]
ResumeOption = Annotated[
    bool, typer.Option("--resume", help="Go on from the last whole checkpoint in --output, as the run began.")
]


def add_commands(app: typer.Typer) -> None:
    """Add this module's commands to `tandem ranker`."""
    app.command("fit")(fit_command)
    app.command("figure5")(figure5_command)


def fit_command(
    output: RunOption,
    folder: Annotated[Path | None, typer.Argument(help=f"{_ROWS} With --resume the run's own.")] = None,
    config: ConfigOption = None,
    sharding: ShardingOption = None,
    processes: ProcessesOption = None,
    device: DeviceOption = "cpu",
    threads: ThreadsOption = None,
    resume: ResumeOption = False,
    epochs: Annotated[int | None, typer.Option(min=1, help="Passes over the rows, instead of the config's.")] = None,
    batch: Annotated[int | None, typer.Option(min=1, help="Rows per step over all processes.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Of everything random.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show where the tables will be and the memory they take; train nothing.")
    ] = False,
    json_file: JsonOption = None,
) -> None:
    """Train a network on columnar rows, its tables spread over processes; stop and go on at any time.

    On several hosts, or under a scheduler: `torchrun --nproc-per-node N -m tandem ranker fit ...` on each host, with
    the run's folder on a file system that all of them see.
    """
    from ranker.errors import RankerError
    from ranker.evaluation.calibration_plot import calibration_plot
    from ranker.training.examples_source import EXAMPLES
    from ranker.training.fit import FitJob, fit
    from ranker.training.launch import launch, under_torchrun
    from ranker.training.plan import ShardingConstraints
    from ranker.training.run_folder import RunFolder
    from ranker.training.settings import BANNER, KAGGLE, read_training

    own = RunFolder(output) if resume else None
    folder = folder or (own.rows if own else None)
    if folder is None:
        raise RankerError("expected a folder of rows to train on, or --resume of a run that has one")
    defaults = own.settings if own else BANNER if (folder / EXAMPLES).exists() else KAGGLE
    settings = read_training(config, defaults) if config else defaults
    given = {"epochs": epochs, "batch": batch, "seed": seed}
    settings = settings.changed(**{name: value for name, value in given.items() if value is not None})
    constraints = ShardingConstraints.read(sharding) if sharding else own.constraints if own else ShardingConstraints()
    processes = processes or (own.processes if own else 1)
    if dry_run:
        _show_memory(folder, settings, constraints, processes, json_file)
        return
    job = FitJob(folder.resolve(), output.resolve(), settings, constraints, resume)
    figures = launch(processes, device, threads, fit, job)
    if under_torchrun() and not figures:
        return
    console.print(_summary(figures, str(output)))
    _warn_of_less_than_a_constant(figures)
    measured = [{"model": split, **figures[split]} for split in ("validation", "test") if figures[split]["rows"]]
    if measured:
        calibration_plot(measured, output / "calibration.png")
        console.print(f"calibration: {output / 'calibration.png'}")
    write_figures(json_file, figures)


def _show_memory(
    folder: Path,
    settings: "TrainingSettings",
    constraints: "ShardingConstraints",
    processes: int,
    json_file: Path | None,
) -> None:
    from ranker.training.memory import memory_plan, memory_table
    from ranker.training.plan import plan_table
    from ranker.training.sources import open_source

    source = open_source(folder, settings.features, settings.dimension)
    found = memory_plan(source, settings, constraints, processes)
    console.print(plan_table(found.placements, processes))
    console.print(memory_table(found))
    write_figures(json_file, asdict(found))


def figure5_command(
    folder: Annotated[Path, typer.Argument(help=_ROWS, show_default=False)],
    output: RunOption,
    config: ConfigOption = None,
    networks: Annotated[list[str] | None, typer.Option("--network", help="Repeat to compare. [dlrm and dcn]")] = None,
    points: Annotated[int, typer.Option(min=2, help="Measurements of every curve.")] = 20,
    sgd_rate: Annotated[float, typer.Option(min=0, help="Learning rate of SGD.")] = 0.1,
    dcn_sgd_rate: Annotated[
        float, typer.Option(min=0, help="The same for DCN and DCNv2, whose cross layers diverge at DLRM's.")
    ] = 0.01,
    adagrad_rate: Annotated[float, typer.Option(min=0, help="Learning rate of Adagrad.")] = 0.01,
    processes: ProcessesOption = None,
    device: DeviceOption = "cpu",
    threads: ThreadsOption = None,
    json_file: JsonOption = None,
) -> None:
    """Train DLRM and DCN for one epoch with SGD and with Adagrad; plot their accuracies (DLRM paper, Figure 5).

    Killed in the middle, the same command goes on where it was.
    """
    from ranker.training.figure5 import draw, figure5, markdown
    from ranker.training.settings import KAGGLE, read_training

    settings = read_training(config) if config else KAGGLE
    chosen = networks or ["dlrm", "dcn"]
    rates = {name: {"sgd": sgd_rate if name == "dlrm" else dcn_sgd_rate, "adagrad": adagrad_rate} for name in chosen}
    curves = figure5(folder.resolve(), output.resolve(), settings, rates, points, processes or 1, device, threads)
    draw(curves, output / "figure5.png")
    text = markdown(curves)
    (output / "figure5.md").write_text(text)
    console.print(text, highlight=False, soft_wrap=True)
    console.print(f"{output / 'figure5.png'}, {output / 'figure5.md'}")
    write_figures(json_file, {"curves": [one.figures() for one in curves], "seed": settings.seed})


def _warn_of_less_than_a_constant(figures: dict[str, Any]) -> None:
    """A normalised entropy of 1 is that of the rows' own rate, predicted for each."""
    for split in ("validation", "test"):
        entropy = figures[split].get("normalised_entropy", math.nan)
        if entropy >= 1:
            notices.print(
                f"the network is worse than a constant: its log loss on the {split} rows is {entropy:.2f} times that "
                "of their click rate; try lower learning rates, more epochs, or other features"
            )


def _summary(figures: dict[str, Any], title: str) -> Table:
    count, names = figures["processes"], ("auc", "log_loss", "normalised_entropy", "accuracy", "calibration_error")
    made = table(
        f"{title}: {figures['network']}, {figures['steps']:,} steps",
        "split",
        "rows",
        *(name.replace("_", " ") for name in names),
        caption=f"{figures['samples_per_second']:,.0f} samples/s with {count} process{'' if count == 1 else 'es'}",
    )
    for split in ("validation", "test"):
        found = figures[split]
        cells = [_shown(found[name]) if name in found else "" for name in names]
        made.add_row(split, f"{found['rows']:,}", *cells)
    return made


def _shown(value: float) -> str:
    """A dash for what rows of one class do not have."""
    return f"{value:.4f}" if math.isfinite(value) else "–"
