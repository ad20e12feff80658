"""Estimates from an A/B test whose unit is the user: sums that add, uplifts with intervals, checks.

A metric is a ratio sum(y) / sum(d) over users: d = 1 gives a mean per user, d = displays a rate per display. Variances
are the delta method's over users (Deng, Knoblich, Lu: "Applying the Delta Method in Metric Analytics", KDD 2018), never
a binomial per display, because a user's displays are not independent. What cannot be said yet is a `NotEstimable` with
its reason, never NaN.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import chisquare, norm
from scipy.stats import t as student

LEVEL = 0.95
"""The confidence level of every interval of the report."""

SAMPLE_RATIO_ALARM = 0.001
"""A sample-ratio mismatch is called below this p-value: a fault of the split, not chance."""

TUNED_FOR_USERS = 5000
"""The number of users at which the always-valid interval is tightest (relative to the fixed-time one)."""

LEAST_EXPECTED_USERS = 5
"""A chi-square test needs about this many expected users in every population."""

LARGEST_SUM = 1e100
"""Sums beyond this are no outcome of users; kept out, nothing below can overflow."""

Method = Literal["log-ratio", "symmetric"]
DEFAULT_METHOD: Method = "log-ratio"


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

    @classmethod
    def of_sums(cls, users: int, d: float, y: float, dd: float, yy: float, dy: float) -> "RatioMoments":
        """From the raw sums of d, y, d^2, y^2 and d*y over users."""
        if users == 0:
            return cls()
        squares = max(0.0, yy - y * y / users), max(0.0, dd - d * d / users), dy - d * y / users
        return cls(users, y / users, d / users, *squares)

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


@dataclass(frozen=True, slots=True)
class Uplift:
    """r_treated / r_baseline - 1, as a fraction. `always_valid` holds however often one looks."""

    value: float
    standard_error: float  # of `value`, delta method
    low: float
    high: float
    p_value: float  # two-sided, of no uplift, by the same method as the interval
    always_valid: tuple[float, float]
    method: Method


@dataclass(frozen=True, slots=True)
class NormalisedUplift:
    """R = (C - A) / (B - A) with Fieller's interval: 1 means as much over A as B. `base_negative`: B is below A."""

    value: float
    low: float
    high: float
    base_negative: bool


@dataclass(frozen=True, slots=True)
class SampleRatio:
    """Chi-square of the users counted against the shares configured."""

    p_value: float
    alarm: bool


def mean_with_interval(group: RatioMoments) -> "Mean | NotEstimable":
    """The ratio and its symmetric interval at LEVEL."""
    if problem := group.problem():
        return Mean(group.ratio, NotEstimable(problem)) if group.users == 1 else NotEstimable(problem)
    if group.variance == 0:
        return Mean(group.ratio, NotEstimable("users do not differ"))
    half = _z() * math.sqrt(group.variance)
    return Mean(group.ratio, (group.ratio - half, group.ratio + half))


def relative_uplift(
    treated: RatioMoments, baseline: RatioMoments, method: Method = DEFAULT_METHOD
) -> "Uplift | NotEstimable":
    """The relative uplift of a ratio metric, with its interval at LEVEL.

    symmetric: u +- t sqrt(v_T / r_C^2 + r_T^2 v_C / r_C^4). log-ratio: the same delta method on log(r_T / r_C), whose
    interval cannot fall below -100 %. t is Student's with Welch's degrees of freedom.

    Not estimable while the baseline's own interval still reaches zero (the ratio's interval would be unbounded,
    Fieller 1954), or while either group has no outcome at all.
    """
    if problem := _pair_problem(treated, baseline):
        return NotEstimable(problem)
    ratio = treated.ratio / baseline.ratio
    parts = treated.relative_error**2, baseline.relative_error**2
    log_error = math.sqrt(sum(parts))
    error, sequential = ratio * log_error, always_valid_factor(treated.users + baseline.users)
    freedom = _degrees_of_freedom(parts, (treated.users, baseline.users))
    quantile = float(student.isf((1 - LEVEL) / 2, freedom))
    if method == "symmetric":
        low, high = ratio - quantile * error - 1, ratio + quantile * error - 1
        always = ratio - sequential * error - 1, ratio + sequential * error - 1
        p_value = _two_sided((ratio - 1) / error, freedom)
    else:
        low, high = (math.expm1(math.log(ratio) + sign * quantile * log_error) for sign in (-1, 1))
        always = (
            math.expm1(math.log(ratio) - sequential * log_error),
            math.expm1(math.log(ratio) + sequential * log_error),
        )
        p_value = _two_sided(math.log(ratio) / log_error, freedom)
    return Uplift(ratio - 1, error, low, high, p_value, always, method)


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
    squared_z = _z() ** 2
    leading = b * b - squared_z * s_bb
    if leading <= 0 or s_cc == 0:
        return NotEstimable("the reference's uplift over the baseline may still be zero")
    middle = b * c - squared_z * shared
    root = math.sqrt(max(0.0, middle * middle - leading * (c * c - squared_z * s_cc)))
    return NormalisedUplift(c / b, (middle - root) / leading, (middle + root) / leading, b < 0)


def fieller_holds(treated: RatioMoments, reference: RatioMoments, baseline: RatioMoments, ratio: float) -> bool:
    """Is `ratio` in Fieller's set for the normalised uplift? Told also where the set is unbounded."""
    difference = (treated.ratio - baseline.ratio) - ratio * (reference.ratio - baseline.ratio)
    spread = treated.variance + ratio**2 * reference.variance + (1 - ratio) ** 2 * baseline.variance
    return difference**2 <= _z() ** 2 * spread


def always_valid_factor(users: int) -> float:
    """How many standard errors an interval needs to hold at every moment at once.

    The asymptotic confidence sequence of Waudby-Smith et al. ("Time-uniform central limit theory", 2021, Theorem
    2.2): sqrt(2 (N rho^2 + 1) / (N rho^2) ln(sqrt(N rho^2 + 1) / alpha)), rho tuned for TUNED_FOR_USERS.
    """
    alpha = 1 - LEVEL
    squared_rho = (-2 * math.log(alpha) + math.log(1 - 2 * math.log(alpha))) / TUNED_FOR_USERS
    scale = users * squared_rho
    return math.sqrt(2 * (scale + 1) / scale * math.log(math.sqrt(scale + 1) / alpha))


def sample_ratio(users: Mapping[str, int], shares: Mapping[str, float]) -> "SampleRatio | NotEstimable":
    """Are the users counted per population those that the shares promise? Chi-square over positive shares.

    A user in a population without a share is a mismatch for certain (p = 0).
    """
    weights = {name: share for name, share in shares.items() if share > 0}
    if any(count for name, count in users.items() if name not in weights):
        return SampleRatio(0.0, alarm=True)
    if len(weights) < 2:
        return NotEstimable("fewer than two populations have a share")
    observed = np.array([users.get(name, 0) for name in weights], np.float64)
    expected = np.array(list(weights.values()), np.float64)
    expected *= observed.sum() / expected.sum()
    if expected.min() < LEAST_EXPECTED_USERS:
        return NotEstimable(f"fewer than {LEAST_EXPECTED_USERS} users expected in a population")
    p_value = float(chisquare(observed, expected).pvalue)
    return SampleRatio(p_value, p_value < SAMPLE_RATIO_ALARM)


def _pair_problem(treated: RatioMoments, baseline: RatioMoments) -> str | None:
    """Why a relative uplift cannot be estimated; None if it can."""
    for group, name in ((baseline, "baseline"), (treated, "treated")):
        if problem := group.problem():
            return f"{problem} in the {name} population"
        if group.ratio <= 0:
            return f"no outcome in the {name} population"
    if baseline.variance == 0 and treated.variance == 0:
        return "users do not differ"
    if _z() * baseline.relative_error >= 1:
        return "too few outcomes in the baseline population"
    return None


def _degrees_of_freedom(parts: tuple[float, float], users: tuple[int, int]) -> float:
    """Welch and Satterthwaite's, for the sum of two estimated variances."""
    spread = sum(part * part / (count - 1) for part, count in zip(parts, users, strict=True))
    return sum(parts) ** 2 / spread


def _two_sided(statistic: float, freedom: float) -> float:
    return float(2 * student.sf(abs(statistic), freedom))


def _z() -> float:
    return float(norm.isf((1 - LEVEL) / 2))
