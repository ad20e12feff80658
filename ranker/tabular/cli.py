"""`tandem ranker compare`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from data.console import JsonOption, console, write_figures

if TYPE_CHECKING:
    from ranker.tabular.comparison import Summary


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
    out: Annotated[Path, typer.Option("--out", "-o", help="Finished runs are kept here.")] = Path("build/compare"),
    json_file: JsonOption = None,
) -> None:
    """DLRM beside DCN, DCNv2, gradient-boosted trees and logistic regression on the same rows of a click log.

    Trained on the first rows, measured on the last. A killed comparison goes on where it was.
    """
    from ranker.tabular.comparison import Division, compare, read_rows, summaries
    from ranker.tabular.models import MODELS
    from ranker.tabular.plots import calibration_plot

    division = Division(train_share, validation_share, refit)
    results = compare(source, test, model or list(MODELS), list(range(seeds)), division, out, processes)
    count = results[0]["rows"]["test"]
    label = read_rows(test or source).label[-count:]
    found = summaries(results, label)
    console.print(_table(found, {name: title for name, (title, _) in MODELS.items()}, results[0]["rows"], seeds))
    calibration_plot(results, out / "calibration.png")
    console.print(f"calibration: {out / 'calibration.png'}")
    kept = [{key: value for key, value in one.items() if key != "probability"} for one in results]
    summary = [
        {
            "model": one.model,
            **one.figures,
            "seed_error": one.seed_error,
            "row_error": one.row_error,
            "difference": one.difference,
        }
        for one in found
    ]
    write_figures(json_file, {"runs": kept, "summary": summary})


def _table(found: "list[Summary]", titles: dict[str, str], rows: dict[str, int], seeds: int) -> Table:
    table = Table(
        title=f"{rows['train']:,} training, {rows['validation']:,} validation, {rows['test']:,} later test rows; "
        f"{seeds} seeds",
        caption="± over seeds; (±) of sampling the test rows; the difference is paired over the same rows",
    )
    columns = ("AUC", "log loss", "NE", "accuracy", "calibration error", "AUC less the first's", "seconds")
    table.add_column("model")
    for name in columns:
        table.add_column(name, justify="right")
    for one in found:
        figures = one.figures
        seed = f" ± {one.seed_error:.4f}" if one.seed_error == one.seed_error else ""
        less = f"{one.difference[0]:+.4f} ± {one.difference[1]:.4f}" if one.difference else ""
        table.add_row(
            titles[one.model],
            f"{figures['auc']:.4f}{seed} (± {one.row_error:.4f})",
            f"{figures['log_loss']:.4f}",
            f"{figures['normalised_entropy']:.4f}",
            f"{figures['accuracy']:.4f}",
            f"{figures['calibration_error']:.4f}",
            less,
            f"{figures['seconds']:.0f}",
        )
    return table
