"""A model of each place's reward, for DM and the doubly robust estimators: a line in the ranker's score.

It is fitted on other users than those it speaks of (cross-fitting, Chernozhukov et al. 2018), so that a user's own
rewards do not enter the model that is subtracted from them.
"""

from dataclasses import dataclass

import numpy as np

from gateway.off_policy.estimates import Floats, Users

FOLDS = 5
RIDGE = 1.0
"""Added to the sum of squared deviations of a place's score, so that few displays make no steep line."""


@dataclass(frozen=True)
class PlaceScores:
    """Scores float64 [n, S], on a scale on which reward is about a line: of the logged items; the mean over the other
    policy's choice for each place given the logged places before it; and over its own banners."""

    logged: Floats
    policy: Floats
    direct: Floats


def cross_fitted(reward: Floats, filled: Floats, users: Users, scores: PlaceScores | None) -> PlaceScores:
    """The model's rewards where `scores` has scores.

    Args:
        reward: float64 [n, S]. filled: float64 [n, S], 1 where a place holds an item, 0 where it does not.
        users: int [n]. scores: None: the mean of each place stands for every item.
    """
    told = scores or PlaceScores(*(np.zeros_like(reward) for _ in range(3)))
    found = PlaceScores(*(np.zeros_like(reward) for _ in range(3)))
    fold = users % FOLDS
    for number in range(FOLDS):
        here, others = fold == number, fold != number
        slope, base = _lines(reward[others], filled[others], told.logged[others])
        for name in ("logged", "policy", "direct"):
            getattr(found, name)[here] = (base + slope * getattr(told, name)[here]) * filled[here]
    return found


def _lines(reward: Floats, filled: Floats, score: Floats) -> tuple[Floats, Floats]:
    """Slope and base of each place, float64 [S] each."""
    count = np.maximum(filled.sum(axis=0), 1.0)
    mean, middle = (reward * filled).sum(axis=0) / count, (score * filled).sum(axis=0) / count
    away = (score - middle) * filled
    slope = (away * reward).sum(axis=0) / ((away * away).sum(axis=0) + RIDGE)
    return slope, mean - slope * middle
