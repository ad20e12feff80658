"""Sums that add: what a group of users contributes to a ratio, and the mean with its interval.

A metric is a ratio sum(y) / sum(d) over users: d = 1 gives a mean per user, d = displays a rate per display. Variances
are the delta method's over users (Deng, Knoblich, Lu: "Applying the Delta Method in Metric Analytics", KDD 2018), never
a binomial per display, because a user's displays are not independent.
"""

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import norm

LEVEL = 0.95
"""The confidence level of every interval of the report."""

LARGEST_SUM = 1e100
"""Sums beyond this are no outcome of users; kept out, nothing below can overflow."""


@dataclass(frozen=True, slots=True)
class NotEstimable:
    """A figure that the data do not bear yet, and why."""

    reason: str

    def __str__(self) -> str:
        return f"not estimable yet: {self.reason}"


@dataclass(frozen=True, slots=True)
class RatioMoments:
    """What a group of users contributes to a ratio sum(y) / sum(d). Groups add; the order does not matter.

    Kept as means and centred sums (Chan, Golub, LeVeque 1979), because raw sums of squares cancel: order values of
    1e9 that differ by cents would lose their variance.
    """

    users: int = 0
    mean_y: float = 0.0
    mean_d: float = 0.0
    squares_y: float = 0.0  # sum of (y - mean_y)^2
    squares_d: float = 0.0
    products: float = 0.0  # sum of (y - mean_y)(d - mean_d)

    @classmethod
    def of(cls, y: ArrayLike, d: ArrayLike | None = None) -> "RatioMoments":
        """From each user's y and d, [users] each; without d, a mean per user (d = 1)."""
        numerator = np.asarray(y, np.float64)
        denominator = np.ones_like(numerator) if d is None else np.asarray(d, np.float64)
        if numerator.ndim != 1 or numerator.shape != denominator.shape:
            raise ValueError(f"expected one y and one d per user, found {numerator.shape} and {denominator.shape}")
        if not len(numerator):
            return cls()
        with np.errstate(over="ignore", invalid="ignore"):  # `problem` says it
            away_y, away_d = numerator - numerator.mean(), denominator - denominator.mean()
            squares = float(away_y @ away_y), float(away_d @ away_d), float(away_y @ away_d)
        return cls(len(numerator), float(numerator.mean()), float(denominator.mean()), *squares)

    def __add__(self, other: "RatioMoments") -> "RatioMoments":
        users = self.users + other.users
        if users == 0:
            return RatioMoments()
        part = other.users / users
        step_y, step_d = other.mean_y - self.mean_y, other.mean_d - self.mean_d
        weight = self.users * part
        return RatioMoments(
            users,
            self.mean_y + step_y * part,
            self.mean_d + step_d * part,
            self.squares_y + other.squares_y + step_y * step_y * weight,
            self.squares_d + other.squares_d + step_d * step_d * weight,
            self.products + other.products + step_y * step_d * weight,
        )

    @property
    def ratio(self) -> float:
        """sum(y) / sum(d); 0 for a group without users or with sum(d) = 0 (ask `problem` first)."""
        return self.mean_y / self.mean_d if self.mean_d else 0.0

    @property
    def variance(self) -> float:
        """Of the ratio, by the delta method: [s2_y - 2 r s_yd + r^2 s2_d] / (n mean_d^2)."""
        if self.users < 2 or not self.mean_d:
            return 0.0
        ratio = self.ratio
        spread = self.squares_y - 2 * ratio * self.products + ratio * ratio * self.squares_d
        return max(0.0, spread) / (self.users - 1) / self.users / self.mean_d / self.mean_d

    @property
    def relative_error(self) -> float:
        """The ratio's standard error over the ratio, which must not be 0."""
        return math.sqrt(self.variance) / self.ratio

    def problem(self) -> str | None:
        """Why neither the ratio nor its variance can be estimated; None if they can."""
        if self.users == 0:
            return "no users"
        if self.users == 1:
            return "one user"
        if self.mean_d <= 0:
            return "nothing to divide by"
        sums = self.mean_y, self.mean_d, self.squares_y, self.squares_d, self.products
        if not all(abs(one) < LARGEST_SUM for one in sums):  # also catches NaN
            return "values too large to add up"
        return None


@dataclass(frozen=True, slots=True)
class Mean:
    """A ratio with its interval; `interval` is NotEstimable where the users do not differ or are too few."""

    value: float
    interval: "tuple[float, float] | NotEstimable"


def mean_with_interval(group: RatioMoments) -> "Mean | NotEstimable":
    """The ratio and its symmetric interval at LEVEL."""
    if problem := group.problem():
        return Mean(group.ratio, NotEstimable(problem)) if group.users == 1 else NotEstimable(problem)
    if group.variance == 0:
        return Mean(group.ratio, NotEstimable("users do not differ"))
    half = normal_quantile() * math.sqrt(group.variance)
    return Mean(group.ratio, (group.ratio - half, group.ratio + half))


@cache
def normal_quantile() -> float:
    """Of a two-sided interval at LEVEL."""
    return float(norm.isf((1 - LEVEL) / 2))
