"""Table 2 of the LED paper: Mult-VAE, LED with each loss, and other models, by the Mult-VAE protocol."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from candidates.benchmarks.registry import build_model
from candidates.errors import CandidatesError
from candidates.models.model import require_memory
from candidates.models.saving import settings_of
from candidates.paper import plots
from candidates.paper.runner import run_tasks
from candidates.paper.summary import Line, markdown, measured, percent, short
from candidates.paper.tasks import ModelTask, Source
from data.workspace import write_text_atomically

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


def table_2(source: Source, seeds: Sequence[int], folder: Path, processes: int) -> dict[str, Any]:
    """Fit and measure every row, write table2.md and table2.png into the folder, and return the figures.

    Models that draw nothing at random are fitted once, whatever the seeds.
    """
    rows = _rows(source.split().train.shape[1])
    tasks = {row: tasks_of(row, source, seeds) for row in rows}
    found = iter(run_tasks("Table 2", [task for row in rows for task in tasks[row]], folder, processes))
    lines = {row: Line.of(_name(row), [next(found) for _ in tasks[row]]) for row in rows}
    base = next(line for row, line in lines.items() if row.model == BASE)
    text = _text(source, seeds, lines, base)
    write_text_atomically(folder / "table2.md", text)
    plots.dots(
        folder / "table2.png",
        "LED paper, Table 2",
        [(line, row.published) for row, line in lines.items()],
        [name for name in base.per_user if name.startswith("recall")],
        "paper, MovieLens-20M",
    )
    return {
        "dataset": source.dataset,
        "data_sha256": source.digest,
        "seeds": list(seeds),
        "users": len(next(iter(base.per_user.values()))),
        "rows": [
            line.figures()
            | {"model": row.model, "published": row.published}
            | {f"{name} over {BASE}": line.over(base, name) for name in line.per_user}
            for row, line in lines.items()
        ],
        "markdown": text,
    }


def _rows(items: int) -> list[PaperRow]:
    """The table's rows, without models whose memory so many items exceed."""
    rows = []
    for row in ROWS:
        try:
            require_memory(build_model(row.model), items)
            rows.append(row)
        except CandidatesError as error:
            logger.warning("%s is left out: %s", _name(row), error)
    return rows


def tasks_of(row: PaperRow, source: Source, seeds: Sequence[int]) -> list[ModelTask]:
    known = settings_of(build_model(row.model).config)
    settings = (("threads", "1"),) if "threads" in known else ()
    return [
        ModelTask(source, f"{_name(row)}, seed {seed}", row.model, settings, seed=seed, weight=row.weight)
        for seed in (seeds if "seed" in known else seeds[:1])
    ]


def _name(row: PaperRow) -> str:
    return f"{row.label} {row.loss}".strip()


def _text(source: Source, seeds: Sequence[int], lines: dict[PaperRow, Line], base: Line) -> str:
    names = list(base.per_user)
    recalls = [name for name in names if name.startswith("recall")][:2]
    header = ["model", "loss"]
    for name in recalls:
        header += [f"paper {name}", f"here {name}", "over VAE"]
    header += [f"here {name}" for name in names if name not in recalls] + ["epochs", "s"]
    rows = []
    for row, line in lines.items():
        cells = [row.label, row.loss]
        for place, name in enumerate(recalls):
            cells.append("" if row.published is None else short(row.published[place], 3))
            cells += [measured(line, name), "" if line is base else percent(line.over(base, name))]
        cells += [measured(line, name) for name in names if name not in recalls]
        rows.append([*cells, "" if line.epochs is None else f"{line.epochs:.0f}", f"{line.seconds:.0f}"])
    users = len(base.per_user[names[0]])
    return (
        f"# LED paper, Table 2, on {source.dataset}\n\n"
        f"Means over {users:,} test users ± standard errors; seeds {', '.join(map(str, seeds))}, averaged. "
        "The paper's columns are MovieLens-20M. `over VAE`: relative difference to Mult-VAE, user by user. "
        "† sampled losses. `s`: seconds of training one seed on one thread.\n\n" + markdown(header, rows) + "\n"
    )
