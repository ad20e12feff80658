"""Does an estimate rest on one user? One order of 1e7, or one busy robot, moves a mean and its interval alike."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gateway.experiment.statistics.moments import NotEstimable, RatioMoments
from gateway.experiment.statistics.permutation import permutation_p_value
from gateway.experiment.statistics.uplift import TUNED_FOR_USERS, Uplift, relative_uplift
from gateway.experiment.statistics.winsorisation import cap_of

LARGE_SHARE = 0.2
"""An outcome of which one user has this part, and MANY_TIMES the others' mean, rests on that user."""
MANY_TIMES = 10.0
ENOUGH = 20.0
"""Effective users of a population from which daily looks are believed: always-valid intervals are asymptotic, and of
heavy tails their first looks err (bench/ab_validity.py)."""


@dataclass(frozen=True, slots=True)
class Largest:
    """The user with the greatest value of a population: their part of its sum, and how many times the others' mean.

    The others are those with any outcome. effective: of how many users with equal values the outcome is worth (Kish:
    (sum y)^2 / sum y^2).
    """

    share: float
    times: float
    effective: float

    @property
    def rests_on_one(self) -> bool:
        return self.share >= LARGE_SHARE and self.times >= MANY_TIMES


@dataclass(frozen=True, slots=True)
class Tails:
    """An uplift looked at without its largest values.

    Attributes:
        winsorised: the uplift of values cut to `cap`, the 99.9 % quantile of both populations' users together.
        capped: how many users that cuts.
        without_largest: the uplift without the user of the greatest value of both populations.
        permutation_p: of equal means, by dealing the users anew.
        treated, baseline: their largest users.
    """

    winsorised: Uplift | NotEstimable
    cap: float
    capped: int
    without_largest: Uplift | NotEstimable
    permutation_p: float
    treated: Largest
    baseline: Largest

    @property
    def enough(self) -> bool:
        """Whether both populations' outcomes are of ENOUGH users."""
        return min(self.treated.effective, self.baseline.effective) >= ENOUGH

    def stands(self, low: float, high: float) -> bool:
        """Whether an interval that excludes 0 does so also without the largest user; any other stands."""
        away = self.without_largest
        if not (low > 0 or high < 0):
            return True
        return not isinstance(away, NotEstimable) and (away.low > 0 if low > 0 else away.high < 0)


def tails_of(
    treated: NDArray[np.float64], baseline: NDArray[np.float64], tuned_for: int = TUNED_FOR_USERS
) -> Tails | None:
    """Of the values [users] of two populations; None where one has no outcome."""
    if not treated.any() or not baseline.any():
        return None
    together = np.concatenate([treated, baseline])
    cap = cap_of(together)
    groups = [RatioMoments.of(np.minimum(values, cap) if cap > 0 else values) for values in (treated, baseline)]
    top = int(together.argmax())
    fewer = (
        [np.delete(treated, top), baseline]
        if top < len(treated)
        else [treated, np.delete(baseline, top - len(treated))]
    )
    without = relative_uplift(RatioMoments.of(fewer[0]), RatioMoments.of(fewer[1]), tuned_for=tuned_for)
    return Tails(
        winsorised=relative_uplift(groups[0], groups[1], tuned_for=tuned_for),
        cap=cap,
        capped=int((together > cap).sum()) if cap > 0 else 0,
        without_largest=without,
        permutation_p=permutation_p_value(treated, baseline),
        treated=largest(treated),
        baseline=largest(baseline),
    )


def largest(values: NDArray[np.float64]) -> Largest:
    """Of values [users], at least 0."""
    total, top = float(values.sum()), float(values.max(initial=0.0))
    if total <= 0:
        return Largest(0.0, 0.0, 0.0)
    others = int((values > 0).sum()) - 1
    rest = (total - top) / others if others else 0.0
    scaled = values / top  # squares of 1e200 are no numbers
    times = top / rest if rest > 0 else float(others > 0) * np.inf
    return Largest(top / total, times, float(scaled.sum() ** 2 / (scaled @ scaled)))
