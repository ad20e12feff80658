"""The uplift's interval by drawing users anew: a check on the normal approximation, not on the design.

Poisson bootstrap (Hanley and MacGibbon 2006): each user counts Poisson(1) times; percentiles of the ratio of means.
"""

import numpy as np
from numpy.typing import NDArray

from gateway.experiment.statistics.moments import LEVEL

DRAWS = 1000
_AT_ONCE = 4_000_000


def bootstrap_interval(
    treated: NDArray[np.float64], baseline: NDArray[np.float64], draws: int = DRAWS, seed: int = 1
) -> tuple[float, float]:
    """Of the relative uplift of means of [users] values each, at LEVEL; infinite where a draw has no outcome."""
    random = np.random.default_rng(seed)
    above, below = (_means(values, draws, random) for values in (treated, baseline))
    with np.errstate(divide="ignore", invalid="ignore"):
        uplift = above / below - 1
    uplift = np.where(np.isnan(uplift), np.inf, uplift)
    low, high = np.quantile(uplift, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], method="nearest")
    return float(low), float(high)


def _means(values: NDArray[np.float64], draws: int, random: np.random.Generator) -> NDArray[np.float64]:
    """float64 [draws]. Users of the same value are drawn together: a sum of Poisson(1) is Poisson(their number)."""
    distinct, counts = np.unique(values, return_counts=True)
    found = np.empty(draws)
    step = max(1, _AT_ONCE // len(distinct))
    for start in range(0, draws, step):
        some = slice(start, min(start + step, draws))
        drawn = random.poisson(counts, (some.stop - some.start, len(distinct)))
        found[some] = drawn @ distinct / np.maximum(1, drawn.sum(axis=1))
    return found
