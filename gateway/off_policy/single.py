"""Estimators for one choice a display, from the probabilities with which the log's and the other policy choose it.

w = pi_e(a | x) / pi_b(a | x) of the logged choice a; q(x, a) a model of its reward, q(x, pi_e) its mean under the other
policy. Names and formulas are those of the Open Bandit Pipeline (Saito, Aihara, Matsutani, Narita 2021).
"""

from dataclasses import dataclass

import numpy as np

from gateway.experiment.statistics.moments import NotEstimable
from gateway.off_policy.estimates import Floats, Found, Users, mean_by_user

GRID = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 1e3, 1e4, np.inf)
"""Weights at which switch-DR switches, and roots of the shrinkage of DR: the log chooses."""


@dataclass(frozen=True)
class Choices:
    """Logged displays of one choice each, all float64 [n]: reward, weight w, q(x, a) and q(x, pi_e); users int [n]."""

    reward: Floats
    weight: Floats
    logged_q: Floats
    policy_q: Floats
    users: Users

    def mean(self, method: str, values: Floats, below: Floats | None = None, weight: Floats | None = None) -> Found:
        """weight: what the rewards are weighed by, if they are."""
        weighted = None if weight is None else weight * self.reward
        return mean_by_user(method, values, self.reward, self.users, below, weighted)

    def corrected(self, method: str, weight: Floats) -> Found:
        """The model's mean under the other policy, plus what the rewards say of the model's errors."""
        return self.mean(method, self.policy_q + weight * (self.reward - self.logged_q), weight=weight)


def direct_method(one: Choices) -> Found:
    """DM: mean of q(x, pi_e). As biased as the model; its error says nothing of that."""
    return one.mean("DM", one.policy_q)


def inverse_propensity(one: Choices, clip: float = np.inf) -> Found:
    """IPW: mean of w r (Horvitz and Thompson 1952). `clip`: greater weights are cut to it, which biases."""
    weight = np.minimum(one.weight, clip)
    return one.mean("IPW", weight * one.reward, weight=weight)


def self_normalised(one: Choices) -> Found:
    """SNIPW: sum(w r) / sum(w), one ratio over all displays (Swaminathan and Joachims 2015)."""
    return one.mean("SNIPW", one.weight * one.reward, one.weight, one.weight)


def doubly_robust(one: Choices) -> Found:
    """DR: mean of q(x, pi_e) + w (r - q(x, a)): unbiased if the propensities are right, whatever the model
    (Dudik, Langford, Li 2011)."""
    return one.corrected("DR", one.weight)


def switch_doubly_robust(one: Choices, threshold: float | None = None) -> Found:
    """switch-DR: DR where w <= threshold, else the model alone (Wang, Agarwal, Dudik 2017).

    threshold: None: of GRID the one with the least variance plus squared bias, as the log estimates them.
    """
    limits = GRID if threshold is None else (threshold,)
    return one.corrected("switch-DR", _best(one, [one.weight * (one.weight <= limit) for limit in limits]))


def shrunk_doubly_robust(one: Choices, shrinkage: float | None = None) -> Found:
    """DRos: DR with the weights s w / (w^2 + s) (Su, Dimakopoulou, Krishnamurthy, Dudik 2020). shrinkage: s; None:
    chosen as in `switch_doubly_robust`."""
    scales = [limit * limit for limit in GRID] if shrinkage is None else [shrinkage]
    shrunk = [one.weight if np.isinf(s) else s * one.weight / (one.weight**2 + s) for s in scales]
    return one.corrected("DRos", _best(one, shrunk))


ESTIMATORS = {
    "DM": direct_method,
    "IPW": inverse_propensity,
    "SNIPW": self_normalised,
    "DR": doubly_robust,
    "switch-DR": switch_doubly_robust,
    "DRos": shrunk_doubly_robust,
}


def _best(one: Choices, weights: list[Floats]) -> Floats:
    """Of ways to lessen the weights the one with the least estimated squared error; bias: what lessening takes away."""
    residual = one.reward - one.logged_q

    def squared_error(weight: Floats) -> float:
        bias = float(((one.weight - weight) * residual).mean())
        found = one.mean("", one.policy_q + weight * residual)
        return np.inf if isinstance(found, NotEstimable) else found.standard_error**2 + bias * bias

    return min(weights, key=squared_error)
