"""Several comparisons at once: p-values adjusted so that one of many is not called an effect by chance."""

from collections.abc import Sequence

import numpy as np
from scipy.stats import false_discovery_control


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values; calling those below a level keeps the chance of any false call below it (Holm 1979)."""
    order = np.argsort(p_values, kind="stable")
    factors = len(order) - np.arange(len(order))
    adjusted = np.minimum(1.0, np.maximum.accumulate(np.asarray(p_values, float)[order] * factors))
    found = np.empty(len(order))
    found[order] = adjusted
    return [float(one) for one in found]


def benjamini_hochberg(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values; of those called below a level at most that part is false, on average (1995)."""
    return [float(one) for one in false_discovery_control(p_values)] if len(p_values) else []
