"""Figures 2 and 7 of the LED paper: starts and tunings on less and less data, and losses by number of negatives."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from candidates.benchmarks.datasets import DataSource
from candidates.benchmarks.summary import Line, markdown, measured, percent
from candidates.benchmarks.tasks import ModelTask, with_share
from candidates.config import LedConfig
from candidates.errors import CandidatesError
from candidates.led.presets import PAPER
from candidates.led.training import rows_of_batch
from candidates.paper import plots
from data.files import write_text_atomically

SHARES = (0.001, 0.01, 0.1, 1.0)
"""Of the training users, for Figure 2, from a thousandth as in the paper."""

NEGATIVES = (1, 5, 10, 50, 100, 500, 1000)
"""For Figure 7."""

STARTS = {
    "random start, full": (("start", "random"), ("tuning", "full")),
    "SVD start, full": (("start", "svd"), ("tuning", "full")),
    "SVD start, project": (("start", "svd"), ("tuning", "project")),
    "SVD start, project from a random P": (
        ("start", "svd"),
        ("tuning", "project"),
        ("projection_start", "random"),
    ),
}
FEW = (("negatives_per", "user"), ("patience", 20))
"""Every user has negatives of their own, as in the paper. Where a batch shares a handful of them, a step lowers these
few items for everybody, and LED stays where popularity is. With few negatives it also learns for longer."""

SAMPLED = {"Mult-CSS": "led-css", "BPR": "led-bpr", "NS": "led-ns"}


def figure_2(
    source: DataSource, shares: Sequence[float], seeds: Sequence[int], folder: Path, processes: int
) -> dict[str, Any]:
    """LED with the multinomial loss, trained on a share of the users, from starts made of all of them (section 5.3).

    An epoch goes over few users several times (`passes_of`).
    Writes figure2.md and figure2.png.
    """
    split = source.split()  # what no task could read is told before the first of them
    if min(shares) < 1:
        with_share(split, min(shares))
    tasks = {
        f"{name}, {share:g}": [
            ModelTask(
                source,
                f"{name}, {share:.1%}, seed {seed}",
                "led-mult",
                (*settings, ("passes", passes_of(split.train.shape[0], share))),
                seed,
                share,
                weight=2 if "project" in name else 1,
            )
            for seed in seeds
        ]
        for name, settings in STARTS.items()
        for share in shares
    }
    found = Line.of_tasks("Figure 2", tasks, folder, processes)
    series = {name: {share: found[f"{name}, {share:g}"][0] for share in shares} for name in STARTS}
    first = next(iter(found.values()))[0]
    recalls = [name for name in first.per_user if name.startswith("recall")]
    measure = max(recalls, key=lambda name: int(name.split("@")[1]))  # Recall@50 by the strong protocol, as the paper's
    plots.curves(folder / "figure2.png", "LED paper, Figure 2", series, measure, "share of the training users")
    cells = [
        [
            name,
            *(measured(line, measure) for line in points.values()),
            f"{sum(one.seconds for one in points.values()):.0f}",
        ]
        for name, points in series.items()
    ]
    table = markdown(["start, tuning", *[f"{share:.1%}" for share in shares], "s"], cells)
    text = (
        f"# LED paper, Figure 2, on {source.dataset}\n\n"
        f"{measure} of LED, multinomial loss, by the share of the training users it is trained on; "
        f"SVD starts are made of all training users. {_about(first, seeds)} "
        "`s`: seconds of the line's trainings, one seed, one thread.\n\n"
    )
    return _written(folder / "figure2.md", text + table, source, seeds, series)


def passes_of(users: int, share: float) -> int:
    """So often an epoch goes over a share of the users that it is as many updates as over all `users`.

    Counted in batches: five users are one batch, as sixty are, so they are not gone over a thousand times.
    """
    config, some = LedConfig(**PAPER), max(1, round(share * users))
    of_all, of_some = (-(-count // rows_of_batch(config, count)) for count in (users, some))
    return max(1, round(of_all / of_some))


def figure_7(
    source: DataSource, negatives: Sequence[int], seeds: Sequence[int], folder: Path, processes: int
) -> dict[str, Any]:
    """Sampled losses by the number of negatives, relative to the multinomial loss (section 9.3, there for BPR alone).

    Writes figure7.md and figure7.png.
    """
    source.split()  # what no task could read is told before the first of them
    tasks = {
        f"{name}, {count:g}": [
            ModelTask(
                source,
                f"{name}, {count} negatives, seed {seed}",
                model,
                (("negatives", count), *FEW),
                seed,
                weight=weight,
            )
            for seed in seeds
        ]
        for weight, (name, model) in zip((2, 3, 1), SAMPLED.items(), strict=True)
        for count in negatives
    }
    tasks["multinomial"] = [ModelTask(source, f"multinomial, seed {seed}", "led-mult", (), seed) for seed in seeds]
    lines = Line.of_tasks("Figure 7", tasks, folder, processes)
    level = lines["multinomial"][0]
    series = {name: {float(count): lines[f"{name}, {count:g}"][0] for count in negatives} for name in SAMPLED}
    measure = next(name for name in level.per_user if name.startswith("recall"))
    plots.curves(
        folder / "figure7.png", "LED paper, Figure 7", series, measure, "negatives", ("multinomial loss", level)
    )
    cells = []
    for count in negatives:
        row = [str(count)]
        for points in series.values():
            row += [measured(points[count], measure), percent(points[count].over(level, measure))]
        cells.append(row)
    cells.append(["all (multinomial)", measured(level, measure), *[""] * (2 * len(SAMPLED) - 1)])
    table = markdown(["negatives", *[cell for name in SAMPLED for cell in (name, "over multinomial")]], cells)
    text = (
        f"# LED paper, Figure 7, on {source.dataset}\n\n"
        f"{measure} of LED trained with sampled losses, by the number of negatives, beside the multinomial loss; "
        f"differences are relative, user by user. {_about(level, seeds)}\n\n"
    )
    return _written(folder / "figure7.md", text + table, source, seeds, series | {"multinomial": {0: level}})


def _about(line: Line, seeds: Sequence[int]) -> str:
    users = len(next(iter(line.per_user.values())))
    return f"Means over {users:,} test users ± standard errors; seeds {', '.join(map(str, seeds))}, averaged."


def _written(
    path: Path, text: str, source: DataSource, seeds: Sequence[int], series: dict[str, dict[float, Line]]
) -> dict[str, Any]:
    write_text_atomically(path, text + "\n", CandidatesError)
    points = [(name, at, line) for name, several in series.items() for at, line in several.items()]
    return {
        "dataset": source.dataset,
        "data_sha256": source.digest,
        "seeds": list(seeds),
        "points": [{"series": name, "at": at} | line.figures() for name, at, line in points],
        "markdown": text,
    }
