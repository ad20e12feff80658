"""Do two experiments on the same users change each other's effects?"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from scipy.stats import norm

from gateway.experiment.statistics.moments import NotEstimable, RatioMoments


@dataclass(frozen=True, slots=True)
class Interaction:
    """(1 + uplift among the other's treated) / (1 + uplift among the other's baseline) - 1, and p of none."""

    value: float
    p_value: float


def interaction(groups: Mapping[tuple[bool, bool], RatioMoments]) -> Interaction | NotEstimable:
    """Of the four groups by (treated here, treated there): the ratio of log-ratios, errors by the delta method."""
    for (here, there), group in groups.items():
        if (problem := group.problem()) or group.ratio <= 0:
            where = f"{'treated' if here else 'baseline'} here, {'treated' if there else 'baseline'} there"
            return NotEstimable(f"{problem or 'no outcome'} among {where}")
    signs = {True: 1, False: -1}
    value = sum(signs[here] * signs[there] * math.log(group.ratio) for (here, there), group in groups.items())
    error = math.sqrt(sum(group.relative_error**2 for group in groups.values()))
    if error == 0:
        return NotEstimable("users do not differ")
    return Interaction(math.expm1(value), float(2 * norm.sf(abs(value) / error)))
