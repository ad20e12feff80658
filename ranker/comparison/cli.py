"""`tandem ranker compare`."""

from dataclasses import asdict
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.table import Table

from data.console import JsonOption, console, table, write_figures

if TYPE_CHECKING:
    from ranker.comparison.runs import Summary


def add_commands(app: typer.Typer) -> None:
    """Add this module's command to `tandem ranker`."""
    app.command("compare")(compare_command)


def compare_command(
    source: Annotated[
        Path, typer.Argument(help="Rows of Criteo's layout (tsv, gz), or a converted folder.", show_default=False)
    ],
    test: Annotated[
        Path | None,
        typer.Option(help="Rows of a later day to measure on; then all of the first file is trained on."),
    ] = None,
    model: Annotated[list[str] | None, typer.Option("--model", "-m", help="Repeat for several; default: all.")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Runs of each model.")] = 3,
    train_share: Annotated[float, typer.Option(help="First part of the log; without --test.")] = 0.8,
    validation_share: Annotated[float, typer.Option(help="The part after it that says when to stop.")] = 0.1,
    refit: Annotated[bool, typer.Option(help="Fit again on both parts before the test.")] = True,
    processes: Annotated[int, typer.Option(min=1, help="Runs at once, one thread each.")] = 4,
    config: Annotated[
        Path | None, typer.Option("--config", help="What the models see and how networks are made (YAML).")
    ] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="Finished runs are kept here.")] = Path(
        "build/compare"
    ),
    json_file: JsonOption = None,
) -> None:
    """DLRM beside DCN, DCNv2, gradient-boosted trees and logistic regression on the same rows of a click log.

    Trained on the first rows, measured on the last. A killed comparison goes on where it was.
    """
    from ranker.comparison.jobs import Division
    from ranker.comparison.models import MODELS
    from ranker.comparison.runs import compare, read_rows, summaries
    from ranker.comparison.settings import LogColumns, read_compare_settings
    from ranker.evaluation.calibration_plot import calibration_plot

    settings = read_compare_settings(config, LogColumns.of(source)) if config else None
    division = Division(train_share, validation_share, refit)
    results = compare(source, test, model or list(MODELS), list(range(seeds)), division, output, processes, settings)
    count = results[0]["rows"]["test"]
    label = read_rows(test or source).label[-count:]
    found = summaries(results, label)
    table = _table(found, {name: title for name, (title, _) in MODELS.items()}, results[0]["rows"], seeds)
    console.print(table)
    calibration_plot(results, output / "calibration.png")
    console.print(f"calibration: {output / 'calibration.png'}")
    kept = [{key: value for key, value in one.items() if key != "probability"} for one in results]
    summary = [{**asdict(one), **one.figures} for one in found]
    write_figures(json_file, {"runs": kept, "summary": summary})


def _table(found: "list[Summary]", titles: dict[str, str], rows: dict[str, int], seeds: int) -> Table:
    less = "less DLRM's" if found[0].model == "dlrm" else "less first's"
    count = f"{rows['train']:,} training, {rows['validation']:,} validation, {rows['test']:,} later test rows"
    columns = ("model", "AUC", "log loss", "NE", "accuracy", "calibration", less, "s")
    made = table(f"{count}; {seeds} seeds", *columns, box=box.SIMPLE_HEAD, caption=_caption(found[0]), padding=(0, 1))
    for column in made.columns:
        column.no_wrap = True
    for one in found:
        figures = one.figures
        seed = f" ± {_short(one.seed_error)}" if isfinite(one.seed_error) else ""
        less = ""
        if one.difference and isfinite(one.difference[0]):
            less = f"{one.difference[0]:+.4f} ± {_short(one.difference[1])}"
        made.add_row(
            titles[one.model],
            f"{_short(figures['auc'])}{seed}",
            *(_short(figures[name]) for name in ("log_loss", "normalised_entropy", "accuracy", "calibration_error")),
            less,
            f"{figures['seconds']:.0f}",
        )
    return made


def _caption(first: "Summary") -> str:
    if not isfinite(first.figures["auc"]):
        return "the test rows are of one class only: no AUC, no normalised entropy"
    return (
        f"± over seeds; sampling the test rows adds ± {_short(first.row_error)} to an AUC; calibration: mean distance "
        "of predicted and observed rates over ten buckets"
    )


def _short(value: float) -> str:
    """Four digits, without the zero in front; a dash for what rows of one class do not have."""
    return f"{value:.4f}".removeprefix("0") if isfinite(value) else "–"
