"""Profiles as stacked bars, as the DLRM paper draws them in Figure 6."""

from pathlib import Path

from data.files import replaced_file
from ranker.errors import RankerError
from ranker.profiling.attribution import PARTS
from ranker.profiling.measuring import Profile


def draw(profiles: list[Profile], path: Path) -> None:
    """One bar per workload, in per cent of its step: a colour per part, the backward pass hatched. Writes a PNG."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot
    from matplotlib.patches import Patch

    colours = dict(zip(PARTS, pyplot.get_cmap("tab10").colors, strict=False))  # type: ignore[attr-defined]
    figure, axes = pyplot.subplots(figsize=(2.5 + 1.6 * len(profiles), 5))
    for place, one in enumerate(profiles):
        below = 0.0
        for part in one.parts:
            share = 100 * part.milliseconds / one.profiled
            hatch = "//" if part.direction == "backward" else None
            axes.bar(place, share, 0.6, below, color=colours[part.part], hatch=hatch, edgecolor="white", linewidth=0.5)
            below += share
    axes.set_xticks(range(len(profiles)), [f"{one.workload}\n{one.step:.1f} ms a step" for one in profiles])
    axes.set(ylabel="share of a training step, %", ylim=(0, 100), title=f"on {profiles[0].conditions['device']}")
    there = {part.part for one in profiles for part in one.parts}
    legend = [Patch(color=colours[part], label=part) for part in reversed(PARTS) if part in there]
    legend.append(Patch(facecolor="grey", hatch="//", edgecolor="white", label="backward"))
    axes.legend(handles=legend, loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    with replaced_file(path, error=RankerError) as beside:
        figure.savefig(beside, dpi=150, format="png", bbox_inches="tight")
    pyplot.close(figure)
