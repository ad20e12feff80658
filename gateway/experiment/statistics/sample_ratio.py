"""Are users split as configured?"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.stats import chisquare

from gateway.experiment.statistics.moments import NotEstimable

SAMPLE_RATIO_ALARM = 0.001
"""A sample-ratio mismatch is called below this p-value: a fault of the split, not chance."""

LEAST_EXPECTED_USERS = 5
"""A chi-square test needs about this many expected users in every population."""


@dataclass(frozen=True, slots=True)
class SampleRatio:
    """Chi-square of the users counted against the shares configured.

    imbalance: the greatest difference of a population's part of the users from its share, a fraction of all users: of
    many users a small one is certain, and harmless.
    """

    p_value: float
    alarm: bool
    imbalance: float


def sample_ratio(users: Mapping[str, int], shares: Mapping[str, float]) -> "SampleRatio | NotEstimable":
    """Are the users counted per population those that the shares promise? Chi-square over positive shares.

    A user in a population without a share is a mismatch for certain (p = 0).
    """
    weights = {name: share for name, share in shares.items() if share > 0}
    if any(count for name, count in users.items() if name not in weights):
        return SampleRatio(0.0, alarm=True, imbalance=_imbalance(users, shares))
    if len(weights) < 2:
        return NotEstimable("fewer than two populations have a share")
    observed = np.array([users.get(name, 0) for name in weights], np.float64)
    expected = np.array(list(weights.values()), np.float64)
    expected *= observed.sum() / expected.sum()
    if expected.min() < LEAST_EXPECTED_USERS:
        return NotEstimable(f"fewer than {LEAST_EXPECTED_USERS} users expected in a population")
    p_value = float(chisquare(observed, expected).pvalue)
    return SampleRatio(p_value, p_value < SAMPLE_RATIO_ALARM, _imbalance(users, weights))


def _imbalance(users: Mapping[str, int], shares: Mapping[str, float]) -> float:
    total, whole = max(1, sum(users.values())), sum(shares.values()) or 1.0
    return max(abs(users.get(name, 0) / total - shares.get(name, 0.0) / whole) for name in {*users, *shares})
