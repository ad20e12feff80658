"""Estimators for banners of several places, each with a reward of its own (a landed click, a sale, a value).

The value is the mean over displays of the sum over places. w_k = pi_e / pi_b of place k given the places before it.
Standard and independent IPS: Li et al. 2018; reward-interaction IPS: McInerney et al. 2020; cascade-DR: Kiyohara et al.
2022. The last two take it that a place's reward depends on it and the places before it alone.
"""

from dataclasses import dataclass

import numpy as np

from gateway.off_policy.estimates import Estimate, Floats, Users, mean_by_user


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

    @property
    def prefix(self) -> Floats:
        """float64 [n, S]: w_1 ... w_k, the weight of everything up to place k."""
        return np.cumprod(self.target / self.logging, axis=1, dtype=np.float64)

    @property
    def weight(self) -> Floats:
        """float64 [n]: of the whole banner."""
        whole: Floats = self.prefix[:, -1]
        return whole

    def mean(self, method: str, values: Floats) -> Estimate:
        """values: float64 [n, S] or [n], each place's or display's part."""
        parts = values if values.ndim == 1 else values.sum(axis=1)
        return mean_by_user(method, parts, self.reward.sum(axis=1), self.users)


def direct_method(one: Slates) -> Estimate:
    """DM: the model's reward of the other policy's banners."""
    return one.mean("DM", one.direct_q)


def standard(one: Slates) -> Estimate:
    """SIPS: every place weighs as the whole banner; assumes nothing, varies most."""
    return one.mean("standard IPS", one.weight[:, None] * one.reward)


def standard_self_normalised(one: Slates) -> Estimate:
    """SNSIPS: the same over the sum of the weights."""
    total = one.reward.sum(axis=1)
    return mean_by_user("self-normalised IPS", one.weight * total, total, one.users, one.weight)


def independent(one: Slates) -> Estimate | None:
    """IIPS: each place by its own weight; assumes that its reward depends on it alone. None without `marginal`."""
    return None if one.marginal is None else one.mean("independent IPS", one.marginal * one.reward)


def reward_interaction(one: Slates) -> Estimate:
    """RIPS: each place by the weight of the places up to it."""
    return one.mean("reward-interaction IPS", one.prefix * one.reward)


def cascade_doubly_robust(one: Slates) -> Estimate:
    """Cascade-DR: sum over k of w_1..k (r_k - q_k) + w_1..k-1 q_k(pi_e): unbiased whatever the model, if a place's
    reward depends on the places up to it."""
    prefix = one.prefix
    before = np.concatenate([np.ones((len(prefix), 1)), prefix[:, :-1]], axis=1)
    return one.mean("cascade-DR", prefix * (one.reward - one.logged_q) + before * one.policy_q)


def all_of(one: Slates) -> tuple[Estimate, ...]:
    """By every estimator that the arrays bear."""
    every = direct_method, standard, standard_self_normalised, independent, reward_interaction, cascade_doubly_robust
    return tuple(found for estimator in every if (found := estimator(one)) is not None)
