"""Cut the largest values to a quantile, so that a few users do not decide a mean (winsorised mean)."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

QUANTILE = 0.999


def cap_of(values: ArrayLike, quantile: float = QUANTILE) -> float:
    """The value to which larger ones are cut: the quantile of all users of all populations together, a value that
    occurs, and below the greatest one if that occurs once. 0, which cuts nothing, if fewer users have any outcome."""
    ordered = np.sort(np.asarray(values, np.float64))
    if len(ordered) < 2:
        return 0.0
    return max(0.0, float(ordered[min(int(quantile * (len(ordered) - 1)), len(ordered) - 2)]))


def winsorised(
    y: ArrayLike, d: ArrayLike, quantile: float = QUANTILE
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Numerator and denominator [users] of a ratio, each cut to its own quantile over all users.

    Both are cut over the same users, and a cap that would be 0 is not applied.
    """
    cut = []
    for values in (np.asarray(y, np.float64), np.asarray(d, np.float64)):
        cap = cap_of(values, quantile)
        cut.append(np.minimum(values, cap) if cap > 0 else values)
    return cut[0], cut[1]
