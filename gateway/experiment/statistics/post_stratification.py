"""Means that count every stratum as often in each population: what chance dealt unevenly is weighed back.

Strata are of what is known from before the test, such as how active a user was (Miratrix, Sekhon, Yu 2013).
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gateway.experiment.statistics.moments import NotEstimable, normal_quantile
from gateway.experiment.statistics.uplift import TUNED_FOR_USERS, Uplift, uplift_of

LEAST_USERS = 2
"""Of a population in a stratum; smaller strata are joined with the next."""


def post_stratified(
    treated: ArrayLike,
    baseline: ArrayLike,
    treated_strata: ArrayLike,
    baseline_strata: ArrayLike,
    tuned_for: int = TUNED_FOR_USERS,
) -> Uplift | NotEstimable:
    """The relative uplift of post-stratified means per user, with the log-ratio interval.

    A = sum over strata of nu mean_A, nu the stratum's part of all users; its variance is sum nu^2 v / n, and, as nu is
    counted, (sum nu mean^2 - A^2) / N, which both populations share: their covariance (sum nu mean_A mean_B - A B) / N.

    Args:
        treated, baseline: [users] values. treated_strata, baseline_strata: int [users].
    """
    y = [np.asarray(one, np.float64) for one in (treated, baseline)]
    strata = [np.asarray(one) for one in (treated_strata, baseline_strata)]
    if min(map(len, y)) < LEAST_USERS:
        return NotEstimable("fewer than two users in a population")
    codes = _joined(strata)
    sizes, means, errors = (np.stack(column) for column in zip(*map(_of_strata, y, codes), strict=True))
    total = float(sizes.sum())
    nu = sizes.sum(axis=0) / total
    (above, below), shared = means @ nu, (means * nu) @ means.T
    variance = errors @ (nu * nu) + (np.diag(shared) - np.array([above, below]) ** 2) / total
    if above <= 0 or below <= 0:
        return NotEstimable("no outcome in a population")
    if variance.max() <= 0:
        return NotEstimable("users do not differ")
    for place, name in ((1, "baseline"), (0, "treated")):
        if normal_quantile() * variance[place] ** 0.5 >= (above, below)[place]:
            return NotEstimable(f"too few outcomes in the {name} population")
    covariance = (shared[0, 1] - above * below) / total
    parts = variance[0] / above**2, variance[1] / below**2
    return uplift_of(above, below, parts, (len(y[0]), len(y[1])), tuned_for, shared=covariance / above / below)


def strata_of(values: Mapping[str, ArrayLike], most: int = 5) -> dict[str, NDArray[np.int64]]:
    """By population, int64 [users]: 0 for a value of 0, then `most` - 1 classes of about as many users each."""
    together = np.concatenate([np.asarray(one, np.float64) for one in values.values()])
    above = together[together > 0]
    edges = np.unique(np.quantile(above, np.linspace(0, 1, most)[1:-1])) if len(above) else np.empty(0)
    return {
        name: np.where(np.asarray(one) > 0, 1 + np.searchsorted(edges, np.asarray(one, np.float64)), 0)
        for name, one in values.items()
    }


def _joined(strata: list[NDArray[np.integer]]) -> list[NDArray[np.int64]]:
    """The strata numbered from 0 in ascending order, those in which a population has too few users joined."""
    names, together = np.unique(np.concatenate(strata), return_inverse=True)
    codes = np.split(together, [len(strata[0])])
    counts = np.stack([np.bincount(one, minlength=len(names)) for one in codes])
    number, new, so_far = 0, np.zeros(len(names), np.int64), np.zeros(2, np.int64)
    for stratum in range(len(names)):
        new[stratum] = number
        so_far += counts[:, stratum]
        if so_far.min() >= LEAST_USERS:
            number, so_far = number + 1, np.zeros(2, np.int64)
    if so_far.any():  # the last ones are too few: with those before
        new = np.minimum(new, max(0, number - 1))
    return [new[one] for one in codes]


def _of_strata(y: NDArray[np.float64], codes: NDArray[np.int64]) -> tuple[NDArray[np.float64], ...]:
    """Users, mean and variance of the mean of each stratum."""
    sizes = np.bincount(codes).astype(np.float64)
    means = np.bincount(codes, y) / sizes
    squares = np.bincount(codes, (y - means[codes]) ** 2)
    return sizes, means, squares / (sizes - 1) / sizes
