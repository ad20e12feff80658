"""A mean over displays whose standard error is by user: a user's displays are not independent."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student

from gateway.experiment.statistics.moments import LEVEL, NotEstimable, RatioMoments

Floats = NDArray[np.float64]
Users = NDArray[np.integer]


@dataclass(frozen=True, slots=True)
class Estimate:
    """An estimator's value per display, with its interval at LEVEL.

    Attributes:
        method: the estimator's name. uplift: over what the log's own policy brought on the same displays, a fraction,
            with its interval; NotEstimable where that brought nothing.
    """

    method: str
    value: float
    standard_error: float
    low: float
    high: float
    uplift: "Uplift | NotEstimable"


@dataclass(frozen=True, slots=True)
class Uplift:
    """A policy's value over the log's own, minus 1."""

    value: float
    low: float
    high: float


def mean_by_user(method: str, values: Floats, reward: Floats, users: Users, below: Floats | None = None) -> Estimate:
    """sum(values) / sum(below) and its delta-method error over users (each user's sums are one observation).

    Args:
        values: float64 [n], each display's part. reward: float64 [n], what the display brought.
        users: int [n], 0 to U - 1.
        below: float64 [n]; None: 1 each, a mean per display. The weights: a self-normalised mean.

    Raises:
        ValueError: fewer than two users.
    """
    count = int(users.max(initial=-1)) + 1
    if count < 2:
        raise ValueError(f"{count} users; expected at least two, to see how they differ")
    displays = by_user(np.ones(len(users)), users)
    sums, divided = by_user(values, users), displays if below is None else by_user(below, users)
    group = RatioMoments.of(sums, divided)
    error = math.sqrt(group.variance)
    half = float(student.isf((1 - LEVEL) / 2, count - 1)) * error
    uplift = _uplift(sums, divided, by_user(reward, users), displays)
    return Estimate(method, group.ratio, error, group.ratio - half, group.ratio + half, uplift)


def by_user(values: Floats, users: Users) -> Floats:
    """float64 [U]: each user's sum of values float64 [n]."""
    return np.bincount(users, values).astype(np.float64, copy=False)


def _uplift(sums: Floats, below: Floats, logged: Floats, displays: Floats) -> Uplift | NotEstimable:
    """(sum y / sum d) / (sum r / sum n) - 1, by the influence of each user: both parts are of the same users."""
    if logged.sum() <= 0:
        return NotEstimable("the log's displays brought nothing")
    value, own = sums.sum() / below.sum(), logged.sum() / displays.sum()
    ratio, count = value / own, len(sums)
    influence = (sums - value * below) / below.mean() / own - ratio * (logged - own * displays) / displays.mean() / own
    error = math.sqrt(float(influence @ influence) / (count - 1) / count)
    half = float(student.isf((1 - LEVEL) / 2, count - 1)) * error
    return Uplift(ratio - 1, ratio - 1 - half, ratio - 1 + half)
