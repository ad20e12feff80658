"""`tandem candidates table2`, `figure2`, `figure7` and `table3`: the LED paper's tables and figures."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from candidates.benchmarks.cli import AboveOption, DatasetOption, FixedOption, HeldOutOption, PathOption
from data.console import (
    DEFAULT_WORKSPACE,
    JsonOption,
    ProcessesOption,
    ResultsOption,
    SeedsOption,
    WorkspaceOption,
    console,
    write_figures,
)


def add_commands(app: typer.Typer) -> None:
    """Give an application the commands of this module."""
    app.command("table2")(table2)
    app.command("figure2")(figure2)
    app.command("figure7")(figure7)
    app.command("table3")(table3)


def table2(
    path: PathOption,
    dataset: DatasetOption = "movielens-1m",
    seeds: SeedsOption = 3,
    processes: ProcessesOption = 4,
    output: ResultsOption = Path("build/table2"),
    above: AboveOption = None,
    held_out: HeldOutOption = None,
    fixed: FixedOption = False,
    json: JsonOption = None,
) -> None:
    """The paper's Table 2: Mult-VAE, LED with each loss and other models, beside the published figures.

    EASE, WMF, SLIM and ELSA are tuned on the validation users first, as Tandem's default LED is.
    """
    from candidates.benchmarks.datasets import DataSource
    from candidates.paper.table2 import table_2

    figures = table_2(DataSource.of(dataset, path, above, held_out), range(seeds), output, processes, fixed)
    _tell(output / "table2.md", figures, json)


def figure2(
    path: PathOption,
    dataset: DatasetOption = "movielens-1m",
    share: Annotated[
        list[float] | None, typer.Option(min=0.0001, max=1, help="Repeatable; default: .1 % to all.")
    ] = None,
    seeds: SeedsOption = 1,
    processes: ProcessesOption = 4,
    output: ResultsOption = Path("build/figure2"),
    above: AboveOption = None,
    held_out: HeldOutOption = None,
    json: JsonOption = None,
) -> None:
    """The paper's Figure 2: LED on a share of the data, from a random or an SVD start, tuned in full or projected."""
    from candidates.benchmarks.datasets import DataSource
    from candidates.paper.figures import SHARES, figure_2

    source = DataSource.of(dataset, path, above, held_out)
    figures = figure_2(source, sorted(set(share or SHARES)), range(seeds), output, processes)
    _tell(output / "figure2.md", figures, json)


def figure7(
    path: PathOption,
    dataset: DatasetOption = "movielens-1m",
    negatives: Annotated[list[int] | None, typer.Option(min=1, help="Repeatable; default: 1 to 1,000.")] = None,
    seeds: SeedsOption = 1,
    processes: ProcessesOption = 4,
    output: ResultsOption = Path("build/figure7"),
    above: AboveOption = None,
    held_out: HeldOutOption = None,
    json: JsonOption = None,
) -> None:
    """The paper's Figure 7: what LED's sampled losses lose with fewer negatives, beside the multinomial loss."""
    from candidates.benchmarks.datasets import DataSource
    from candidates.paper.figures import NEGATIVES, figure_7

    source = DataSource.of(dataset, path, above, held_out)
    figures = figure_7(source, sorted(set(negatives or NEGATIVES)), range(seeds), output, processes)
    _tell(output / "figure7.md", figures, json)


def table3(
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
    days: Annotated[float, typer.Option(min=0.01, max=36_500, help="Length of the target part.")] = 7,
    anchor: Annotated[
        Literal["log", "user"], typer.Option(help="Target days end with the log, or with each user's own activity.")
    ] = "log",
    seeds: SeedsOption = 3,
    processes: ProcessesOption = 4,
    output: ResultsOption = Path("build/table3"),
    json: JsonOption = None,
) -> None:
    """The paper's Table 3: pre-train on a workspace's views, learn its clicks; Recall@20 and ClickRank by time."""
    from candidates.paper.table3 import Log, table_3

    figures = table_3(Log.of(workspace, days, anchor), range(seeds), output, processes)
    _tell(output / "table3.md", figures, json)


def _tell(page: Path, figures: dict[str, Any], json: Path | None) -> None:
    console.print(figures["markdown"], markup=False, highlight=False, soft_wrap=True)
    console.print(f"{page} and its plot are written; finished rows are kept beside them", markup=False)
    write_figures(json, {name: value for name, value in figures.items() if name != "markdown"})
