"""Table 2 of the LED paper: Mult-VAE, LED with each loss, and other models, by the Mult-VAE protocol."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from candidates.benchmarks.datasets import DataSource
from candidates.benchmarks.registry import build_model
from candidates.benchmarks.summary import Line, markdown, measured, percent, short
from candidates.benchmarks.tasks import ModelTask
from candidates.benchmarks.tuning import Tuned, tune, untuned
from candidates.errors import CandidatesError
from candidates.models.model import at_once, require_memory
from candidates.paper import plots
from data.files import write_text_atomically

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class PaperRow:
    """A line of the table. `published`: Recall@20 and @50 on MovieLens-20M, None where the paper has no such line.
    `weight`: how long it takes beside the others."""

    label: str
    loss: str
    model: str
    published: tuple[float, float] | None
    weight: float

    @property
    def name(self) -> str:
        return f"{self.label} {self.loss}".strip()


@dataclass(frozen=True)
class _Measured:
    """A row with its seeds together. `settings`: what was tuned, in words."""

    row: PaperRow
    line: Line
    tuned: Tuned
    settings: str


BASE = "mult-vae"
ROWS = (
    PaperRow("VAE", "Mult", "mult-vae", (0.396, 0.537), 7),
    PaperRow("VAE", "Mult-CSS †", "mult-vae-css", (0.382, 0.523), 12),
    PaperRow("DAE", "Mult", "mult-dae", (0.387, 0.524), 5),
    PaperRow("LED", "Mult", "led-mult", (0.379, 0.517), 6),
    PaperRow("LED", "Mult-CSS †", "led-css", (0.368, 0.506), 8),
    PaperRow("LED", "BPR †", "led-bpr", (0.375, 0.516), 13),
    PaperRow("LED", "NS †", "led-ns", (0.375, 0.514), 4),
    PaperRow("EASE", "", "ease", (0.391, 0.521), 1),
    PaperRow("WMF", "", "ials", (0.360, 0.498), 2),
    PaperRow("SLIM", "", "slim", (0.370, 0.495), 10),
    PaperRow("Popularity", "", "popularity", None, 1),
    PaperRow("ELSA", "", "elsa", None, 4),
    PaperRow("LED, Tandem's default", "", "led", None, 9),
)


def table_2(
    source: DataSource, seeds: Sequence[int], folder: Path, processes: int, fixed: bool = False
) -> dict[str, Any]:
    """Fit and measure every row, write table2.md and table2.png into the folder, and return the figures.

    Models that draw nothing at random are fitted once, whatever the seeds. Settings are tuned with the first seed.

    Args:
        fixed: tune nothing.
    """
    items = source.split().train.shape[1]
    rows = _rows(items)
    processes = at_once((build_model(row.model) for row in rows), items, processes)
    first = {row.model: _task(row, source, seeds[0]) for row in rows}
    tuned = {name: untuned(task) for name, task in first.items()} if fixed else tune(first, folder, processes)
    tasks = {row.name: tasks_of(row, source, seeds, tuned[row.model]) for row in rows}
    found = Line.of_tasks("Table 2", tasks, folder, processes)
    measured_rows = [
        _Measured(row, line, tuned[row.model], tuned[row.model].words(first))
        for row, (line, first) in zip(rows, found.values(), strict=True)
    ]
    base = next(one.line for one in measured_rows if one.row.model == BASE)
    text = _text(source, seeds, measured_rows, base)
    write_text_atomically(folder / "table2.md", text, CandidatesError)
    plots.dots(
        folder / "table2.png",
        "LED paper, Table 2",
        [(one.line, one.row.published) for one in measured_rows],
        [name for name in base.per_user if name.startswith("recall")],
        "paper, MovieLens-20M",
    )
    return {
        "dataset": source.dataset,
        "data_sha256": source.digest,
        "seeds": list(seeds),
        "users": len(next(iter(base.per_user.values()))),
        "rows": [_figures(one, base) for one in measured_rows],
        "markdown": text,
    }


def _figures(one: _Measured, base: Line) -> dict[str, Any]:
    over = {f"{name} over {BASE}": one.line.over(base, name) for name in one.line.per_user}
    about = {"model": one.row.model, "published": one.row.published, "settings": one.settings}
    return {**one.line.figures(), **about, **one.tuned.figures(), **over}


def _rows(items: int) -> list[PaperRow]:
    """The table's rows, without models whose memory so many items exceed."""
    rows = []
    for row in ROWS:
        try:
            require_memory(build_model(row.model), items)
            rows.append(row)
        except CandidatesError as error:
            logger.warning("%s is left out: %s", row.name, error)
    return rows


def _task(row: PaperRow, source: DataSource, seed: int) -> ModelTask:
    settings = (("threads", 1),) if "threads" in build_model(row.model).settings else ()
    return ModelTask(source, f"{row.name}, seed {seed}", row.model, settings, seed=seed, weight=row.weight)


def tasks_of(row: PaperRow, source: DataSource, seeds: Sequence[int], tuned: Tuned) -> list[ModelTask]:
    drawn = build_model(row.model).draws
    return [
        replace(_task(row, source, seed), settings=tuple(tuned.settings.items()))
        for seed in (seeds if drawn else seeds[:1])
    ]


def _text(source: DataSource, seeds: Sequence[int], rows: Sequence[_Measured], base: Line) -> str:
    names = list(base.per_user)
    recalls = [name for name in names if name.startswith("recall")][:2]
    header = ["model", "loss"]
    for name in recalls:
        header += [f"paper {name}", f"here {name}", "over VAE"]
    header += [f"here {name}" for name in names if name not in recalls] + ["epochs", "s", "settings"]
    table = []
    for one in rows:
        row, line = one.row, one.line
        cells = [row.label, row.loss]
        for place, name in enumerate(recalls):
            cells.append("" if row.published is None else short(row.published[place], 3))
            cells += [measured(line, name), "" if line is base else percent(line.over(base, name))]
        cells += [measured(line, name) for name in names if name not in recalls]
        epochs = "" if line.epochs is None else f"{line.epochs:.0f}"
        table.append([*cells, epochs, f"{line.seconds:.0f}", one.settings])
    users = len(base.per_user[names[0]])
    return (
        f"# LED paper, Table 2, on {source.dataset}\n\n"
        f"Means over {users:,} test users ± standard errors; seeds {', '.join(map(str, seeds))}, averaged. "
        "The paper's columns are MovieLens-20M. `over VAE`: relative difference to Mult-VAE, user by user. "
        "† sampled losses. `s`: seconds of training one seed on one thread. `settings`: tuned ones have the best "
        f"NDCG@100 on validation users with seed {seeds[0]}.\n\n" + markdown(header, table) + "\n"
    )
