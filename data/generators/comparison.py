"""Two traces side by side: how often each stack distance occurs (Figure 3), and what LRU caches of each size would
hit.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data.generators.distances import hit_rates
from data.generators.profile import TraceProfile


@dataclass(frozen=True)
class TraceComparison:
    """Of an original trace and a synthetic one.

    Attributes:
        capacities: of LRU caches, in ids.
        original_hits, synthetic_hits: float64 [len(capacities)], their hit rates.
        distance: total variation between the two distributions of stack distances: 0 the same, 1 nothing in common.
    """

    original: TraceProfile
    synthetic: TraceProfile
    capacities: tuple[int, ...]
    original_hits: NDArray[np.float64]
    synthetic_hits: NDArray[np.float64]
    distance: float


def compare(original: TraceProfile, synthetic: TraceProfile, capacities: tuple[int, ...] = ()) -> TraceComparison:
    """Compare two profiled traces, by default at capacities of 1/64, 1/16, 1/4 and 1/2 of the original's ids."""
    ids = len(original.unique)
    capacities = capacities or tuple(sorted({max(ids // share, 1) for share in (64, 16, 4, 2)}))
    hits, other_hits = (hit_rates(one.distances, one.counts, capacities) for one in (original, synthetic))
    every = np.union1d(original.distances, synthetic.distances)
    spread = np.zeros((2, len(every)))
    for row, one in zip(spread, (original, synthetic), strict=True):
        row[np.searchsorted(every, one.distances)] = one.probabilities
    apart = float(np.abs(spread[0] - spread[1]).sum() / 2)
    return TraceComparison(original, synthetic, capacities, hits, other_hits, apart)


def draw(comparison: TraceComparison, path: Path, title: str) -> None:
    """Figure 3: the probability of each stack distance in both traces, and beside it their hit rates by cache size."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 3.4), layout="constrained")
    panels = figure.subplots(1, 3, width_ratios=[1, 1, 1.1])
    sides = [("original", comparison.original), ("synthetic", comparison.synthetic)]
    top = max(one.probabilities.max() for _, one in sides) * 1.08
    longest = max(int(one.distances[-1]) for _, one in sides)
    every = np.unique(np.geomspace(1, max(longest, 2), 60).astype(int)).tolist()
    for panel, (name, one), colour in zip(panels, sides, ("tab:blue", "tab:orange"), strict=False):
        panel.vlines(one.distances, 0, one.probabilities, color=colour, linewidth=1)
        panel.set(title=name, xlabel="stack distance (0: new id)", ylabel="probability p", ylim=(0, top))
        panel.set_xlim(-0.02 * longest, 1.02 * longest)
        panels[2].plot(every, hit_rates(one.distances, one.counts, every), color=colour, label=name)
    panels[2].set(title="LRU hit rate", xlabel="cache capacity, ids", ylabel="hit rate", xscale="log", ylim=(0, 1))
    panels[2].legend(frameon=False)
    panels[2].grid(alpha=0.3)
    figure.suptitle(title)
    figure.savefig(path, dpi=150)
