"""A mean over displays whose standard error is by user: a user's displays are not independent."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gateway.experiment.statistics.moments import NotEstimable, RatioMoments
from gateway.experiment.statistics.tails import largest
from gateway.experiment.statistics.uplift import LARGEST_EXPONENT, student_quantile

LEAST_OUTCOMES, FEW_OUTCOMES = 10.0, 50.0
"""Users with an equal outcome that the weighted outcomes must be worth; below the second intervals are somewhat too
narrow (bench/off_policy.py)."""

Floats = NDArray[np.float64]
Users = NDArray[np.integer]


@dataclass(frozen=True, slots=True)
class Estimate:
    """An estimator's value per display, with its interval at LEVEL: Student's with `outcomes` - 1 degrees of freedom.

    Attributes:
        method: the estimator's name.
        outcomes: how many users with an equal outcome the weighted outcomes are worth; nan where nothing is weighted.
        uplift: over what the log's own policy brought on the same displays, a fraction, with its interval; NotEstimable
            where that brought nothing.
    """

    method: str
    value: float
    standard_error: float
    low: float
    high: float
    outcomes: float
    uplift: "Uplift | NotEstimable"


@dataclass(frozen=True, slots=True)
class Uplift:
    """A policy's value over the log's own, minus 1."""

    value: float
    low: float
    high: float


Found = Estimate | NotEstimable


def mean_by_user(
    method: str,
    values: Floats,
    reward: Floats,
    users: Users,
    below: Floats | None = None,
    weighted: Floats | None = None,
) -> Found:
    """sum(values) / sum(below) and its delta-method error over users (each user's sums are one observation).

    Args:
        values: float64 [n], each display's part. reward: float64 [n], what the display brought.
        users: int [n], 0 to U - 1.
        below: float64 [n]; None: 1 each, a mean per display. The weights: a self-normalised mean.
        weighted: float64 [n], the reward times its weight: not estimable if it is worth fewer than LEAST_OUTCOMES,
            for then no interval by the normal distribution holds. None: nothing is weighted.
    """
    count = int(users.max(initial=-1)) + 1
    if count < 2:
        return NotEstimable("fewer than two users")
    worth = math.nan if weighted is None else largest(by_user(weighted, users)).effective
    if worth < LEAST_OUTCOMES:
        told = f"the weighted outcomes are worth those of {worth:.1f} users"
        return NotEstimable(f"{told}, expected {LEAST_OUTCOMES:.0f}")
    displays = by_user(np.ones(len(users)), users)
    sums, divided = by_user(values, users), displays if below is None else by_user(below, users)
    group = RatioMoments.of(sums, divided)
    error, freedom = math.sqrt(group.variance), count - 1 if math.isnan(worth) else min(count - 1, worth - 1)
    uplift = _uplift(sums, divided, by_user(reward, users), displays, freedom)
    return Estimate(method, group.ratio, error, *_interval(group.ratio, error, freedom), worth, uplift)


def by_user(values: Floats, users: Users) -> Floats:
    """float64 [U]: each user's sum of values float64 [n]."""
    return np.bincount(users, values).astype(np.float64, copy=False)


def per_display(values: Floats, users: Users) -> RatioMoments:
    """The mean of values float64 [n] over displays, with its error by user."""
    return RatioMoments.of(by_user(values, users), by_user(np.ones(len(users)), users))


def _interval(value: float, error: float, freedom: float) -> tuple[float, float]:
    """On the log scale, where few and unequal outcomes are less skewed; symmetric if the value is not above 0."""
    errors = student_quantile(freedom)
    if value <= 0:
        return value - errors * error, value + errors * error
    factor = math.exp(min(errors * error / value, LARGEST_EXPONENT))
    return value / factor, value * factor


def _uplift(sums: Floats, below: Floats, logged: Floats, displays: Floats, freedom: float) -> Uplift | NotEstimable:
    """(sum y / sum d) / (sum r / sum n) - 1, by the influence of each user: both parts are of the same users."""
    if logged.sum() <= 0:
        return NotEstimable("the log's displays brought nothing")
    value, own = sums.sum() / below.sum(), logged.sum() / displays.sum()
    ratio, count = value / own, len(sums)
    influence = (sums - value * below) / below.mean() / own - ratio * (logged - own * displays) / displays.mean() / own
    error = math.sqrt(float(influence @ influence) / (count - 1) / count)
    low, high = _interval(ratio, error, freedom)
    return Uplift(ratio - 1, low - 1, high - 1)
