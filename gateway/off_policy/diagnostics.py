"""Does a log bear an estimate of another policy? What its weights say, before any figure is read."""

import math
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

from gateway.experiment.statistics.moments import NotEstimable
from gateway.experiment.statistics.tails import largest
from gateway.off_policy.estimates import Floats, Users, by_user, per_display

LEAST_EFFECTIVE = 50.0
"""Displays, and users, that the weights must be worth."""
LARGEST_SHARE = 0.2
"""Of the sum of the weights, that one user may have."""
HEAVY_TAIL = 0.7
"""From this Pareto k on, means of weights converge slowly (Vehtari, Simpson, Gelman, Yao, Gabry 2024)."""
SUPPORT_ALARM = 1e-4
"""A mean weight that differs from 1 with a smaller p: the log lacks what the policy would show, or its propensities
are wrong."""
ROUNDING = 1e-4
"""Of logged propensities: a mean weight so near to 1 is 1."""
CLIPS = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 1_000.0)


@dataclass(frozen=True, slots=True)
class Diagnostics:
    """What the weights w = pi_e / pi_b of n displays are worth.

    Attributes:
        effective: (sum w)^2 / sum w^2 displays (Kish). effective_users: the same of each user's sum.
        greatest: weight. largest_share: of the sum, of one user.
        mean: of the weights, 1 in expectation; mean_p: of that, by user.
        pareto_k: shape of the weights' upper tail; nan with too few different ones.
        matched: displays with a positive weight.
    """

    displays: int
    users: int
    matched: int
    effective: float
    effective_users: float
    greatest: float
    largest_share: float
    mean: float
    mean_p: float
    pareto_k: float

    @property
    def problem(self) -> NotEstimable | None:
        """Why no estimate by weights can be given; None if it can."""
        if self.users < 2:
            return NotEstimable("fewer than two users")
        if self.effective < LEAST_EFFECTIVE or self.effective_users < LEAST_EFFECTIVE:
            worth = min(self.effective, self.effective_users)
            return NotEstimable(f"the log is worth {worth:.1f} displays of this policy, expected {LEAST_EFFECTIVE:.0f}")
        if self.largest_share > LARGEST_SHARE:
            return NotEstimable(f"one user has {self.largest_share:.0%} of the weight")
        if self.mean_p < SUPPORT_ALARM:
            told = "the log never shows what the policy would" if self.mean < 1 else "the propensities are wrong"
            return NotEstimable(f"weights have a mean of {self.mean:.2f}, expected 1: {told}")
        return None

    @property
    def warning(self) -> str:
        """What a reader should know though there is an estimate; empty if nothing."""
        if self.pareto_k >= HEAVY_TAIL:
            return f"the weights' tail is heavy (Pareto k {self.pareto_k:.2f}): intervals may be too narrow"
        return ""


def diagnose(weight: Floats, users: Users) -> Diagnostics:
    """Of weights float64 [n] of displays of users int [n]."""
    sums, group = by_user(weight, users), per_display(weight, users)
    top = largest(sums)
    error, away = math.sqrt(group.variance), max(0.0, abs(group.ratio - 1) - ROUNDING)
    return Diagnostics(
        displays=len(weight),
        users=len(sums),
        matched=int((weight > 0).sum()),
        effective=largest(weight).effective,
        effective_users=top.effective,
        greatest=float(weight.max(initial=0.0)),
        largest_share=top.share,
        mean=group.ratio,
        mean_p=float(2 * norm.sf(away / error)) if error > 0 else float(away == 0),
        pareto_k=pareto_k(weight),
    )


@dataclass(frozen=True, slots=True)
class Clipped:
    """IPW with weights cut to `clip`: where this still moves, a few weights decide. cut: displays that it touches."""

    clip: float
    value: float
    standard_error: float
    cut: int


def clipping_curve(weight: Floats, reward: Floats, users: Users) -> tuple[Clipped, ...]:
    """Of weights and rewards float64 [n], at CLIPS up to the greatest weight, and without a cut."""
    found = []
    for clip in [*(one for one in CLIPS if one < weight.max(initial=0.0)), math.inf]:
        group = per_display(np.minimum(weight, clip) * reward, users)
        found.append(Clipped(clip, group.ratio, math.sqrt(group.variance), int((weight > clip).sum())))
    return tuple(found)


def pareto_k(weight: Floats) -> float:
    """Shape k of the generalised Pareto distribution of the min(n / 5, 3 sqrt(n)) greatest weights.

    Zhang and Stephens' estimate ("A New and Efficient Estimation Method for the Generalized Pareto Distribution", 2009)
    with the weak prior of Vehtari et al. (Pareto smoothed importance sampling, 2024, appendix).
    """
    count = int(min(len(weight) / 5, 3 * math.sqrt(len(weight))))
    if count < 5:
        return math.nan
    ordered = np.sort(weight)
    tail = ordered[-count:] - ordered[-count - 1]
    if tail[-1] <= ROUNDING * ordered[-1] or tail[count // 4] <= 0:
        return math.nan
    grid = 30 + int(math.sqrt(count))
    quarter = tail[int(count / 4 + 0.5) - 1]
    theta = 1 / tail[-1] + (1 - np.sqrt(grid / (np.arange(1, grid + 1) - 0.5))) / 3 / max(quarter, 1e-300)
    shape = np.log1p(-theta[:, None] * tail).mean(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        likelihood = count * (np.log(-theta / shape) - shape - 1)
    likelihood = np.where(np.isfinite(likelihood), likelihood, -np.inf)
    weights = np.exp(likelihood - likelihood.max())
    best = float((theta * weights).sum() / weights.sum())
    k = float(np.log1p(-best * tail).mean())
    return (k * count + 0.5 * 10) / (count + 10)
