"""The uplift in units of another population's: the LED paper's Figure 4, with Fieller's interval."""

import math
from dataclasses import dataclass

from gateway.experiment.statistics.moments import NotEstimable, RatioMoments, normal_quantile


@dataclass(frozen=True, slots=True)
class NormalisedUplift:
    """R = (C - A) / (B - A) with Fieller's interval: 1 means as much over A as B. `base_negative`: B is below A."""

    value: float
    low: float
    high: float
    base_negative: bool


def normalised_uplift(
    treated: RatioMoments, reference: RatioMoments, baseline: RatioMoments
) -> "NormalisedUplift | NotEstimable":
    """R = (C - A) / (B - A) with C treated, B the reference, A the baseline (LED paper, Figure 4).

    The interval holds all R with (c - R b)^2 <= z^2 (s_cc - 2 R s_bc + R^2 s_bb), where b = B - A, c = C - A,
    s_bb = v_B + v_A, s_cc = v_C + v_A, s_bc = v_A (Fieller 1954). It is unbounded, so not estimable yet, while b
    itself may be zero.
    """
    for group, name in ((treated, "treated"), (reference, "reference"), (baseline, "baseline")):
        if problem := group.problem():
            return NotEstimable(f"{problem} in the {name} population")
    b, c = reference.ratio - baseline.ratio, treated.ratio - baseline.ratio
    shared = baseline.variance
    s_bb, s_cc = reference.variance + shared, treated.variance + shared
    squared_z = normal_quantile() ** 2
    leading = b * b - squared_z * s_bb
    if leading <= 0 or s_cc == 0:
        return NotEstimable("the reference's uplift over the baseline may still be zero")
    middle = b * c - squared_z * shared
    root = math.sqrt(max(0.0, middle * middle - leading * (c * c - squared_z * s_cc)))
    return NormalisedUplift(c / b, (middle - root) / leading, (middle + root) / leading, b < 0)
