"""Where users cannot be randomised: a merchant's whole day is served by one population, and days are dealt.

The unit is the merchant's day (Bojinov, Simchi-Levi, Zhao 2023): its outcomes per display, and a variance over units.
Merchants differ more than populations do, so each is compared with itself: a unit counts by how it differs from its
merchant's mean.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gateway.experiment.statistics.moments import NotEstimable
from gateway.experiment.statistics.uplift import Difference, always_valid_factor, student_p_value, student_quantile

LEAST_UNITS = 4
"""Of each population, over all merchants that had both."""


def switchback(
    y: Mapping[str, ArrayLike],
    d: Mapping[str, ArrayLike],
    merchants: Mapping[str, ArrayLike],
    treated: str,
    baseline: str,
) -> Difference | NotEstimable:
    """The difference of outcomes per display, by merchant and day, of a population over another.

    Within each merchant m with both: the mean of y / d over its treated days less that over the others, weighed by the
    merchant's displays; variances are Welch's within merchants.

    Args:
        y, d: by population, [units], a unit's outcomes and displays (above 0). merchants: [units], whose it is.
    """
    names: list[NDArray[Any]] = [np.asarray(merchants[one]) for one in (treated, baseline)]
    rates = [np.asarray(y[one], np.float64) / np.asarray(d[one], np.float64) for one in (treated, baseline)]
    weights = [np.asarray(d[one], np.float64) for one in (treated, baseline)]
    both = [one for one in np.intersect1d(names[0], names[1]) if min((names[k] == one).sum() for k in (0, 1)) >= 2]
    if min(int(np.isin(names[k], both).sum()) for k in (0, 1)) < LEAST_UNITS:
        return NotEstimable(f"fewer than {LEAST_UNITS} days of merchants that were served by both")
    total = sum(float(weights[k][np.isin(names[k], both)].sum()) for k in (0, 1))
    value = variance = squares = 0.0
    units = 0
    for one in both:
        mine: list[NDArray[np.float64]] = [rates[k][names[k] == one] for k in (0, 1)]
        share = sum(float(weights[k][names[k] == one].sum()) for k in (0, 1)) / total
        value += share * float(mine[0].mean() - mine[1].mean())
        for part in mine:
            spread = share * share * float(part.var(ddof=1)) / len(part)
            variance += spread
            squares += spread * spread / (len(part) - 1)
            units += len(part)
    if variance == 0:
        return NotEstimable("units do not differ")
    error, freedom = math.sqrt(variance), variance * variance / squares
    half = student_quantile(freedom) * error
    wide = always_valid_factor(units, units) * error
    p_value = student_p_value(value / error, freedom)
    return Difference(value, value - half, value + half, p_value, (value - wide, value + wide))
