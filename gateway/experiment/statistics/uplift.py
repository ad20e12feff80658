"""The relative uplift of a ratio metric, with an interval for one look and one that holds however often one looks."""

import math
from dataclasses import dataclass
from typing import Literal

from scipy.special import stdtr, stdtrit

from gateway.experiment.statistics.moments import LEVEL, NotEstimable, RatioMoments, normal_quantile

TUNED_FOR_USERS = 5000
"""The number of users at which the always-valid interval is tightest, unless told (relative to the fixed-time one)."""

LARGEST_EXPONENT = 700.0
"""Beyond it a bound on the log scale is no number any more on the plain one."""

Method = Literal["log-ratio", "symmetric"]
DEFAULT_METHOD: Method = "log-ratio"


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

    def interval(self, errors: float) -> tuple[float, float]:
        """Of so many standard errors, on the log scale."""
        middle, half = math.log1p(self.value), errors * self.standard_error / (1 + self.value)
        return math.expm1(middle - half), math.expm1(min(middle + half, LARGEST_EXPONENT))


def relative_uplift(
    treated: RatioMoments,
    baseline: RatioMoments,
    method: Method = DEFAULT_METHOD,
    tuned_for: int = TUNED_FOR_USERS,
) -> "Uplift | NotEstimable":
    """The relative uplift of a ratio metric, with its interval at LEVEL.

    symmetric: u +- t sqrt(v_T / r_C^2 + r_T^2 v_C / r_C^4). log-ratio: the same delta method on log(r_T / r_C), whose
    interval cannot fall below -100 %. t is Student's with Welch's degrees of freedom.

    Not estimable while either group's own interval still reaches zero: a baseline that may be zero makes the ratio's
    interval unbounded (Fieller 1954), and a treated mean that may be zero rests on a handful of users, or on one.

    Args:
        tuned_for: the users expected in both groups, where the always-valid interval is tightest. Set it once.
    """
    if problem := _pair_problem(treated, baseline):
        return NotEstimable(problem)
    parts = treated.relative_error**2, baseline.relative_error**2
    return uplift_of(treated.ratio, baseline.ratio, parts, (treated.users, baseline.users), tuned_for, method)


def uplift_of(
    treated: float,
    baseline: float,
    parts: tuple[float, float],
    users: tuple[int, int],
    tuned_for: int = TUNED_FOR_USERS,
    method: Method = DEFAULT_METHOD,
    shared: float = 0.0,
) -> "Uplift | NotEstimable":
    """The uplift of two means above 0.

    Args:
        parts: squared relative errors of both. users: of both. shared: the covariance of both over their product.
    """
    log_ratio = math.log(treated) - math.log(baseline)
    log_error = math.sqrt(max(0.0, sum(parts) - 2 * shared))
    if log_error == 0:
        return NotEstimable("users do not differ")
    sequential, freedom = always_valid_factor(sum(users), tuned_for), _degrees_of_freedom(parts, users)
    quantile = student_quantile(freedom)
    if abs(log_ratio) + max(quantile, sequential) * log_error > LARGEST_EXPONENT:
        return NotEstimable("the populations' outcomes are too unlike to compare")
    ratio = treated / baseline
    error = ratio * log_error

    def interval(errors: float) -> tuple[float, float]:
        if method == "symmetric":
            return ratio - errors * error - 1, ratio + errors * error - 1
        return math.expm1(log_ratio - errors * log_error), math.expm1(log_ratio + errors * log_error)

    statistic = (ratio - 1) / error if method == "symmetric" else log_ratio / log_error
    p_value = student_p_value(statistic, freedom)
    low, high = interval(quantile)
    return Uplift(ratio - 1, error, low, high, p_value, interval(sequential), method)


@dataclass(frozen=True, slots=True)
class Difference:
    """r_treated - r_baseline, in the metric's unit. `always_valid` holds however often one looks."""

    value: float
    low: float
    high: float
    p_value: float
    always_valid: tuple[float, float]


def absolute_difference(
    treated: RatioMoments, baseline: RatioMoments, tuned_for: int = TUNED_FOR_USERS
) -> "Difference | NotEstimable":
    """The difference of two ratios, with its interval at LEVEL (Welch)."""
    for group, name in ((baseline, "baseline"), (treated, "treated")):
        if problem := group.problem():
            return NotEstimable(f"{problem} in the {name} population")
    parts = treated.variance, baseline.variance
    if sum(parts) == 0:
        return NotEstimable("users do not differ")
    value, error = treated.ratio - baseline.ratio, math.sqrt(sum(parts))
    freedom = _degrees_of_freedom(parts, (treated.users, baseline.users))
    half = student_quantile(freedom) * error
    wide = always_valid_factor(treated.users + baseline.users, tuned_for) * error
    p_value = student_p_value(value / error, freedom)
    return Difference(value, value - half, value + half, p_value, (value - wide, value + wide))


def student_quantile(freedom: float) -> float:
    """Of a two-sided interval at LEVEL; a hundred times as fast as by scipy.stats."""
    return -float(stdtrit(freedom, (1 - LEVEL) / 2))


def student_p_value(statistic: float, freedom: float) -> float:
    """Two-sided."""
    return 2 * float(stdtr(freedom, -abs(statistic)))


def always_valid_factor(users: int, tuned_for: int = TUNED_FOR_USERS) -> float:
    """How many standard errors an interval needs to hold at every moment at once.

    The asymptotic confidence sequence of Waudby-Smith et al. ("Time-uniform central limit theory", 2021, Theorem
    2.2): sqrt(2 (N rho^2 + 1) / (N rho^2) ln(sqrt(N rho^2 + 1) / alpha)), rho tuned for `tuned_for` users.
    """
    alpha = 1 - LEVEL
    squared_rho = (-2 * math.log(alpha) + math.log(1 - 2 * math.log(alpha))) / tuned_for
    scale = users * squared_rho
    return math.sqrt(2 * (scale + 1) / scale * math.log(math.sqrt(scale + 1) / alpha))


def _pair_problem(treated: RatioMoments, baseline: RatioMoments) -> str | None:
    """Why a relative uplift cannot be estimated; None if it can."""
    for group, name in ((baseline, "baseline"), (treated, "treated")):
        if problem := group.problem():
            return f"{problem} in the {name} population"
        if group.ratio <= 0:
            return f"no outcome in the {name} population"
    if baseline.variance == 0 and treated.variance == 0:
        return "users do not differ"
    for group, name in ((baseline, "baseline"), (treated, "treated")):
        if normal_quantile() * group.relative_error >= 1:
            return f"too few outcomes in the {name} population"
    return None


def _degrees_of_freedom(parts: tuple[float, float], users: tuple[int, int]) -> float:
    """Welch and Satterthwaite's, for the sum of two estimated variances."""
    spread = sum(part * part / (count - 1) for part, count in zip(parts, users, strict=True))
    return sum(parts) ** 2 / spread
