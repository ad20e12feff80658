"""Figures 2 and 7 of the LED paper: starts and tunings on less and less data, and losses by number of negatives."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from candidates.benchmarks.benchmark import Result
from candidates.benchmarks.datasets import DataSource
from candidates.benchmarks.runner import run_tasks
from candidates.benchmarks.summary import Line, markdown, measured, percent
from candidates.benchmarks.tasks import ModelTask, with_share
from candidates.errors import CandidatesError
from candidates.paper import plots
from data.files import write_text_atomically

SHARES = (0.01, 0.03, 0.1, 0.3, 1.0)
"""Of the training users, for Figure 2."""

NEGATIVES = (1, 5, 10, 50, 100, 500, 1000)
"""For Figure 7."""

STARTS = {
    "random start, full": (("start", "random"), ("tuning", "full")),
    "SVD start, full": (("start", "svd"), ("tuning", "full")),
    "SVD start, project": (("start", "svd"), ("tuning", "project")),
}
PATIENCE = (("patience", "40"),)
"""With a handful of negatives LED first falls below popularity and rises after thirty epochs: it is given the time."""

SAMPLED = {"Mult-CSS": "led-css", "BPR": "led-bpr", "NS": "led-ns"}


def figure_2(
    source: DataSource, shares: Sequence[float], seeds: Sequence[int], folder: Path, processes: int
) -> dict[str, Any]:
    """LED with the multinomial loss, trained on a share of the users, from starts made of all of them (section 5.3).

    An epoch goes over few users several times, so that training is judged after as many updates as on all of them.
    Writes figure2.md and figure2.png.
    """
    split = source.split()  # what no task could read is told before the first of them
    if min(shares) < 1:
        with_share(split, min(shares))
    tasks = {
        (name, share): [
            ModelTask(
                source,
                f"{name}, {share:.1%}, seed {seed}",
                "led-mult",
                (*settings, ("passes", str(max(1, round(1 / share))))),
                seed,
                share,
                weight=2 if "project" in name else 1,
            )
            for seed in seeds
        ]
        for name, settings in STARTS.items()
        for share in shares
    }
    lines = _lines("Figure 2", tasks, folder, processes)
    series = {name: {share: lines[name, share] for share in shares} for name in STARTS}
    measure = _deepest(next(iter(lines.values())))
    plots.curves(folder / "figure2.png", "LED paper, Figure 2", series, measure, "share of the training users")
    cells = [
        [name, *[measured(lines[name, share], measure) for share in shares], f"{_seconds(series[name]):.0f}"]
        for name in STARTS
    ]
    table = markdown(["start, tuning", *[f"{share:.1%}" for share in shares], "s"], cells)
    text = (
        f"# LED paper, Figure 2, on {source.dataset}\n\n"
        f"{measure} of LED, multinomial loss, by the share of the training users it is trained on; "
        f"SVD starts are made of all training users. {_about(lines, seeds)} "
        "`s`: seconds of the line's trainings, one seed, one thread.\n\n"
    )
    return _written(folder / "figure2.md", text + table, source, seeds, lines)


def figure_7(
    source: DataSource, negatives: Sequence[int], seeds: Sequence[int], folder: Path, processes: int
) -> dict[str, Any]:
    """Sampled losses by the number of negatives, relative to the multinomial loss (section 9.3, there for BPR alone).

    Writes figure7.md and figure7.png.
    """
    source.split()  # what no task could read is told before the first of them
    tasks: dict[tuple[str, float], list[ModelTask]] = {
        (name, count): [
            ModelTask(
                source, _titled(name, count, seed), model, (("negatives", str(count)), *PATIENCE), seed, weight=weight
            )
            for seed in seeds
        ]
        for weight, (name, model) in zip((2, 3, 1), SAMPLED.items(), strict=True)
        for count in negatives
    }
    tasks["multinomial", 0] = [ModelTask(source, f"multinomial, seed {seed}", "led-mult", (), seed) for seed in seeds]
    lines = _lines("Figure 7", tasks, folder, processes)
    level = lines["multinomial", 0]
    series = {name: {float(count): lines[name, count] for count in negatives} for name in SAMPLED}
    measure = next(name for name in level.per_user if name.startswith("recall"))
    plots.curves(
        folder / "figure7.png", "LED paper, Figure 7", series, measure, "negatives", ("multinomial loss", level)
    )
    cells = []
    for count in negatives:
        row = [str(count)]
        for name in SAMPLED:
            found = lines[name, count]
            row += [measured(found, measure), percent(found.over(level, measure))]
        cells.append(row)
    cells.append(["all (multinomial)", measured(level, measure), *[""] * (2 * len(SAMPLED) - 1)])
    table = markdown(["negatives", *[cell for name in SAMPLED for cell in (name, "over multinomial")]], cells)
    text = (
        f"# LED paper, Figure 7, on {source.dataset}\n\n"
        f"{measure} of LED trained with sampled losses, by the number of negatives, beside the multinomial loss; "
        f"differences are relative, user by user. {_about(lines, seeds)}\n\n"
    )
    return _written(folder / "figure7.md", text + table, source, seeds, lines)


def _lines(
    what: str, tasks: dict[tuple[str, float], list[ModelTask]], folder: Path, processes: int
) -> dict[tuple[str, float], Line]:
    rows = iter(run_tasks(what, [task for several in tasks.values() for task in several], folder, processes))
    return {
        place: Line.of(f"{place[0]}, {place[1]:g}", [Result.of_row(next(rows)) for _ in several])
        for place, several in tasks.items()
    }


def _titled(name: str, negatives: int, seed: int) -> str:
    return f"{name}, {negatives} negatives, seed {seed}"


def _deepest(line: Line) -> str:
    """The recall with the greatest cut-off: Recall@50 by the strong protocol, as in Figure 2."""
    return max((name for name in line.per_user if name.startswith("recall")), key=lambda name: int(name.split("@")[1]))


def _seconds(points: dict[float, Line]) -> float:
    return sum(line.seconds for line in points.values())


def _about(lines: dict[tuple[str, float], Line], seeds: Sequence[int]) -> str:
    users = len(next(iter(next(iter(lines.values())).per_user.values())))
    return f"Means over {users:,} test users ± standard errors; seeds {', '.join(map(str, seeds))}, averaged."


def _written(
    path: Path, text: str, source: DataSource, seeds: Sequence[int], lines: dict[tuple[str, float], Line]
) -> dict[str, Any]:
    write_text_atomically(path, text + "\n", CandidatesError)
    return {
        "dataset": source.dataset,
        "data_sha256": source.digest,
        "seeds": list(seeds),
        "points": [{"series": name, "at": at} | line.figures() for (name, at), line in lines.items()],
        "markdown": text,
    }
