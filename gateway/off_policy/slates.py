"""Estimators for banners of several places, each with a reward of its own (a landed click, a sale, a value).

The value is the mean over displays of the sum over places. w_k = pi_e / pi_b of place k given the places before it.
Standard and independent IPS: Li et al. 2018; reward-interaction IPS: McInerney et al. 2020; cascade-DR: Kiyohara et al.
2022. The last two take it that a place's reward depends on it and the places before it alone.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from gateway.experiment.statistics.moments import NotEstimable
from gateway.off_policy.estimates import Floats, Found, Users, mean_by_user


@dataclass(frozen=True)
class Slates:
    """Logged banners, all float64 [n, S]; a place that was not filled has reward 0 and probabilities 1.

    Attributes:
        reward: of each place.
        logging, target: probability of the logged item in its place given the places before it, by the log's policy
            and by the other.
        logged_q: the model's reward of the logged item. policy_q: its mean over the other policy's choice for this
            place, given the logged places before it. direct_q: its mean over the other policy's own banners.
        users: int [n].
        marginal: float64 [n, S], pi_e / pi_b of the item in its place whatever stands before it; None: not known, and
            no independent IPS.
    """

    reward: Floats
    logging: Floats
    target: Floats
    logged_q: Floats
    policy_q: Floats
    direct_q: Floats
    users: Users
    marginal: Floats | None = None

    @cached_property
    def prefix(self) -> Floats:
        """float64 [n, S]: w_1 ... w_k, the weight of everything up to place k."""
        return np.cumprod(self.target / self.logging, axis=1, dtype=np.float64)

    @property
    def weight(self) -> Floats:
        """float64 [n]: of the whole banner."""
        whole: Floats = self.prefix[:, -1]
        return whole

    def mean(self, method: str, values: Floats, weight: Floats | None = None, below: Floats | None = None) -> Found:
        """values: float64 [n, S], each place's part. weight: what its reward is weighed by, if it is."""
        weighted = None if weight is None else (weight * self.reward).sum(axis=1)
        return mean_by_user(method, values.sum(axis=1), self.reward.sum(axis=1), self.users, below, weighted)


def direct_method(one: Slates) -> Found:
    """DM: the model's reward of the other policy's banners."""
    return one.mean("DM", one.direct_q)


def standard(one: Slates) -> Found:
    """SIPS: every place weighs as the whole banner; assumes nothing, varies most."""
    weight = one.weight[:, None]
    return one.mean("standard IPS", weight * one.reward, weight)


def standard_self_normalised(one: Slates) -> Found:
    """SNSIPS: the same over the sum of the weights, one ratio over all displays."""
    weight = one.weight[:, None]
    return one.mean("self-normalised IPS", weight * one.reward, weight, below=one.weight)


def independent(one: Slates) -> Found:
    """IIPS: each place by its own weight; assumes that its reward depends on it alone."""
    if one.marginal is None:
        return NotEstimable("a place's probability whatever stands before it is not known")
    return one.mean("independent IPS", one.marginal * one.reward, one.marginal)


def reward_interaction(one: Slates) -> Found:
    """RIPS: each place by the weight of the places up to it."""
    return one.mean("reward-interaction IPS", one.prefix * one.reward, one.prefix)


def cascade_doubly_robust(one: Slates) -> Found:
    """Cascade-DR: sum over k of w_1..k (r_k - q_k) + w_1..k-1 q_k(pi_e): unbiased whatever the model, if a place's
    reward depends on the places up to it."""
    prefix = one.prefix
    before = np.concatenate([np.ones((len(prefix), 1)), prefix[:, :-1]], axis=1)
    return one.mean("cascade-DR", prefix * (one.reward - one.logged_q) + before * one.policy_q, prefix)


ESTIMATORS = {
    "DM": direct_method,
    "standard IPS": standard,
    "self-normalised IPS": standard_self_normalised,
    "independent IPS": independent,
    "reward-interaction IPS": reward_interaction,
    "cascade-DR": cascade_doubly_robust,
}
