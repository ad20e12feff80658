"""Plots of tables and figures, as PNG: dots with standard errors, and curves over a logarithmic axis."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from candidates.benchmarks.summary import Line
from candidates.errors import CandidatesError
from data.files import replaced_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MARKERS = ("o", "s", "^", "D", "v", "P")


def dots(
    path: Path,
    title: str,
    lines: Sequence[tuple[Line, Sequence[float] | None]],
    measures: Sequence[str],
    published: str,
) -> None:
    """One panel per measure, one row per line; hollow diamonds are published figures, in the measures' order."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.6 * len(measures) + 1.4, 0.34 * len(lines) + 1.5), layout="constrained")
    panels = figure.subplots(1, len(measures), sharey=True, squeeze=False)[0]
    places = list(range(len(lines)))
    for column, (panel, name) in enumerate(zip(panels, measures, strict=True)):
        found = [line.mean(name) for line, _ in lines]
        means, errors = [mean.value for mean in found], [mean.error for mean in found]
        panel.errorbar(means, places, xerr=errors, fmt="o", color="tab:blue", capsize=2, label="here ± standard error")
        known = [(row[column], place) for place, (_, row) in enumerate(lines) if row is not None and column < len(row)]
        if known:
            panel.plot(*zip(*known, strict=True), "D", color="tab:orange", fillstyle="none", label=published)
        panel.set(title=name, yticks=places, yticklabels=[line.title for line, _ in lines])
        panel.grid(axis="x", alpha=0.3)
    panels[0].invert_yaxis()
    panels[0].legend(fontsize=8, loc="lower left")
    figure.suptitle(title, fontsize=11)
    save(figure, path)


def curves(
    path: Path,
    title: str,
    series: dict[str, dict[float, Line]],
    measure: str,
    across: str,
    level: tuple[str, Line] | None = None,
) -> None:
    """A measure over a logarithmic axis, a curve per name with standard errors; `level` is a horizontal line."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.2), layout="constrained")
    panel = figure.subplots()
    for place, (name, points) in enumerate(series.items()):
        found = [line.mean(measure) for line in points.values()]
        means, errors = [mean.value for mean in found], [mean.error for mean in found]
        panel.errorbar(list(points), means, yerr=errors, marker=MARKERS[place % 6], capsize=2, label=name)
    if level is not None:
        panel.axhline(level[1].mean(measure).value, color="gray", linestyle="--", label=level[0])
    panel.set(title=title, xlabel=across, ylabel=f"{measure} ± standard error", xscale="log")
    ticks = sorted({value for points in series.values() for value in points})
    panel.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    panel.minorticks_off()
    panel.grid(alpha=0.3)
    panel.legend(fontsize=8)
    save(figure, path)


def save(figure: "Figure", path: Path) -> None:
    """Write or replace the PNG."""
    with replaced_file(path, error=CandidatesError) as beside:
        figure.savefig(beside, format="png", dpi=140)
