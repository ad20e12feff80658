"""Banners drawn place by place, each item with a probability in proportion to its merit among those left.

Plackett 1975, Luce 1959. The log's softmax exploration draws so, with merit exp(score / temperature); a temperature
near 0 is the ranker's own order, equal merits a uniform draw.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from gateway.off_policy.estimates import Floats


def draw(log_merit: Floats, places: int, random: np.random.Generator) -> NDArray[np.int64]:
    """int64 [n, S]: columns of log_merit float64 [n, M] (-inf: never), drawn one after another by Gumbel's maximum."""
    noisy = log_merit + random.gumbel(size=log_merit.shape)
    return np.argsort(-noisy, axis=1, kind="stable")[:, :places]


def conditional(log_merit: Floats, banners: NDArray[np.integer]) -> Floats:
    """float64 [n, S]: probability of the items of banners int [n, S] in their places, given the places before.

    0 where an item has no merit, or nothing with merit is left.
    """
    rows, found = np.arange(len(banners)), np.empty(banners.shape)
    for place, (chances, item) in enumerate(_by_place(log_merit, banners)):
        found[:, place] = chances[rows, item]
    return found


def expected_score(log_merit: Floats, banners: NDArray[np.integer], score: Floats) -> Floats:
    """float64 [n, S]: the mean of score float64 [n, M] over the choice for each place, given the banner's places
    before it; 0 where nothing is left."""
    found = np.empty(banners.shape)
    for place, (chances, _) in enumerate(_by_place(log_merit, banners)):
        found[:, place] = (chances * score).sum(axis=1)
    return found


def _by_place(log_merit: Floats, banners: NDArray[np.integer]) -> Iterator[tuple[Floats, NDArray[np.integer]]]:
    """For each place: the probabilities [n, M] of all items, given the banner's places before it, and its own items."""
    left, rows = log_merit.copy(), np.arange(len(banners))
    for item in banners.T:
        yield _softmax(left), item
        left[rows, item] = -np.inf


def _softmax(log_merit: Floats) -> Floats:
    """Over the last axis; zeros where all are -inf."""
    top = log_merit.max(axis=-1, keepdims=True)
    merit = np.exp(log_merit - np.where(np.isfinite(top), top, 0.0))
    total = merit.sum(axis=-1, keepdims=True)
    found: Floats = np.divide(merit, total, out=np.zeros_like(merit), where=total > 0)
    return found
