"""CUPED: what users did before the test explains part of what they do in it; taken out, intervals are narrower.

Deng, Xu, Kohavi, Walker: "Improving the Sensitivity of Online Controlled Experiments by Utilizing Pre-Experiment Data",
WSDM 2013; for ratios on the linearised metric (Deng, Knoblich, Lu, KDD 2018).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gateway.experiment.statistics.moments import RatioMoments


@dataclass(frozen=True, slots=True)
class Adjusted:
    """moments: by population, of the adjusted metric. explained: the part of the variance that is gone, 0 to 1."""

    moments: Mapping[str, RatioMoments]
    explained: float


def cuped(
    y: Mapping[str, ArrayLike], covariates: Mapping[str, ArrayLike], d: Mapping[str, ArrayLike] | None = None
) -> Adjusted:
    """Adjust a metric by covariates from before the test.

    theta = cov(x, y) / var(x), pooled within populations; y - theta (x - mean of x over all). With several covariates
    it is the least-squares coefficients; for a ratio, y is linearised first: (y - r d) / mean d.

    Args:
        y: by population, [users]. covariates: [users, k] or [users], from before the users' first display.
        d: the ratio's denominators; None: a mean per user.
    """
    numerators = {name: np.asarray(values, np.float64) for name, values in y.items()}
    below = {name: np.asarray(d[name], np.float64) if d else np.ones_like(numerators[name]) for name in numerators}
    x = {name: _columns(covariates[name]) for name in numerators}
    ratios = {name: values.sum() / below[name].sum() for name, values in numerators.items()}
    scale = {name: below[name].mean() for name in numerators}
    linear = {name: (values - ratios[name] * below[name]) / scale[name] for name, values in numerators.items()}
    within = np.concatenate([x[name] - x[name].mean(axis=0) for name in numerators])
    left = np.concatenate(list(linear.values()))
    theta = np.linalg.lstsq(within, left, rcond=None)[0]
    middle = np.concatenate([x[name] for name in numerators]).mean(axis=0)
    moments = {}
    for name in numerators:  # the linearised values are adjusted, so that the variance is that of the adjusted ratio
        mean = x[name].mean(axis=0)
        adjusted = ratios[name] - (mean - middle) @ theta
        values = adjusted * below[name] + scale[name] * (linear[name] - (x[name] - mean) @ theta)
        moments[name] = RatioMoments.of(values, below[name])
    remaining = left - within @ theta
    spread = float(left @ left)
    return Adjusted(moments, 1 - float(remaining @ remaining) / spread if spread else 0.0)


def _columns(values: ArrayLike) -> NDArray[np.float64]:
    found = np.asarray(values, np.float64)
    return found[:, None] if found.ndim == 1 else found
