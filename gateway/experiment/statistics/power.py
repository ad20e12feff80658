"""How long? Users needed for an uplift, the uplift that users show, for one look and for daily looks."""

import math
from dataclasses import dataclass

from scipy.stats import norm

from gateway.experiment.statistics.moments import LEVEL, NotEstimable, RatioMoments
from gateway.experiment.statistics.uplift import always_valid_factor

POWER = 0.8
_MOST_USERS = 10**12


@dataclass(frozen=True, slots=True)
class Plan:
    """Of two populations together.

    Attributes:
        users: for the uplift, in both. detectable: the least uplift seen with `power` among these users.
        sequential_users: the same for the always-valid interval, looked at daily, tuned for that number.
    """

    uplift: float
    power: float
    users: int
    sequential_users: int


def plan(
    group: RatioMoments, uplift: float, shares: tuple[float, float] = (0.5, 0.5), power: float = POWER
) -> "Plan | NotEstimable":
    """Users needed so that an uplift is seen with the given power; the metric's spread is that of `group`.

    N = cv^2 (1 / s_A + 1 / s_T) (z + z_power)^2 / log(1 + uplift)^2, with cv^2 the squared relative standard deviation
    per user (of the linearised ratio) and s the shares of the two populations, scaled to sum to 1.
    """
    if (problem := group.problem()) or group.ratio <= 0 or group.variance == 0:
        return NotEstimable(problem or ("no outcome" if group.ratio <= 0 else "users do not differ"))
    if not -1 < uplift < math.inf or uplift == 0:
        return NotEstimable("an uplift of 0 or below -100 % is never seen")
    if group.relative_error > _MOST_USERS:
        return NotEstimable("users differ too much")
    spread = _spread(group, shares) / math.log1p(uplift) ** 2
    users = spread * (norm.isf((1 - LEVEL) / 2) + norm.isf(1 - power)) ** 2
    if not users < _MOST_USERS:
        return NotEstimable("the uplift is too small for any number of users")
    sequential = users
    for _ in range(60):  # N enters the factor by its logarithm only: this converges quickly
        count = max(2, math.ceil(sequential))
        sequential = spread * (always_valid_factor(count, tuned_for=count) + norm.isf(1 - power)) ** 2
    return Plan(uplift, power, math.ceil(users), math.ceil(sequential))


def detectable_uplift(
    group: RatioMoments, users: int, shares: tuple[float, float] = (0.5, 0.5), power: float = POWER
) -> "float | NotEstimable":
    """The least uplift that `users` in both populations show with the given power, in one look."""
    if (problem := group.problem()) or group.ratio <= 0 or users < 2:
        return NotEstimable(problem or ("no outcome" if group.ratio <= 0 else "too few users"))
    errors = float(norm.isf((1 - LEVEL) / 2) + norm.isf(1 - power))
    return math.expm1(errors * math.sqrt(_spread(group, shares) / users))


def _spread(group: RatioMoments, shares: tuple[float, float]) -> float:
    """cv^2 (1 / s_A + 1 / s_T)."""
    total = sum(shares)
    return group.users * group.relative_error**2 * (total / shares[0] + total / shares[1])
