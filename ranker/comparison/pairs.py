"""Pairs of id columns whose ids together say more of a click than each for itself: chosen on training rows.

A pair of ids is an id of its own and gets the statistics of one (`statistics.py`), as CatBoost's combinations of
categories do (Prokhorenkova et al. 2018, section 5). Of all pairs of columns those are kept whose out-of-fold log-odds
go best with what a logistic regression on the single columns' statistics leaves unexplained.
"""

import itertools

import numpy as np
from numpy.typing import NDArray

from data.mixing import GOLDEN, mixed
from ranker.comparison.settings import Smoothing
from ranker.comparison.statistics import Floats, log_odds, out_of_fold

Pair = tuple[int, int]

CHOICE_ROWS = 200_000
"""Training rows that the choice looks at, the newest: a pair that needs more of them to show says little."""

_STRETCHES = 10
_STRENGTH = 0.01
"""Inverse regularisation of the logistic regression on standardised statistics."""


def pair_ids(first: NDArray[np.int64], second: NDArray[np.int64]) -> NDArray[np.int64]:
    """int64 [n]: one id per pair of ids, the same on every row and in every file.

    Mixed to 64 bits: among a million distinct pairs two share an id with a probability of 3e-8. The first id is mixed
    before the second joins it, since what two products share in their bits an exclusive or would take away.
    """
    return mixed(mixed(first.view(np.uint64) + GOLDEN) + second.view(np.uint64)).view(np.int64)


def choose_pairs(
    columns: NDArray[np.int64], statistics: Floats, label: Floats, count: int, smoothing: Smoothing
) -> tuple[Pair, ...]:
    """The `count` best pairs of columns, best first; fewer where there are no more, or where nothing is left to say.

    Args:
        columns: int64 [n, C] ids of the training rows, in the order of the log.
        statistics: float32 [n, D] of the single columns, out of fold.
        label: float32 [n], 1 for a click; some of each.
    """
    if count < 1 or columns.shape[1] < 2:
        return ()
    columns, statistics, label = columns[-CHOICE_ROWS:], statistics[-CHOICE_ROWS:], label[-CHOICE_ROWS:]
    unexplained = _unexplained(statistics, label)
    rate = float(label.mean())
    if not 0 < rate < 1:
        return ()
    codes = [np.unique(column, return_inverse=True)[1].astype(np.int64) for column in columns.T]
    varied = [place for place, code in enumerate(codes) if code.max() > 0]
    found: list[tuple[float, Pair]] = []
    for first, second in itertools.combinations(varied, 2):
        together = codes[first] * (codes[second].max() + 1) + codes[second]
        odds = log_odds(*out_of_fold(together, label, smoothing), rate, smoothing)
        found.append((-abs(_correlation(odds, unexplained)), (first, second)))
    return tuple(pair for said, pair in sorted(found)[:count] if said < 0)


def _unexplained(statistics: Floats, label: Floats) -> NDArray[np.float64]:
    """float64 [n]: label less the probability by a logistic regression fitted on the other stretches of the log."""
    from sklearn.linear_model import LogisticRegression

    deviation = statistics.std(axis=0)
    inputs = (statistics - statistics.mean(axis=0)) / np.where(deviation > 1e-6, deviation, np.inf)
    half = np.arange(len(label)) * _STRETCHES // len(label) % 2 == 0
    found = label - label.mean(dtype=np.float64)
    for part in (half, ~half):
        other = label[~part]
        if inputs.shape[1] and len(other) and other.min() < other.max():
            model = LogisticRegression(C=_STRENGTH, max_iter=200).fit(inputs[~part], other)
            found[part] = label[part] - model.predict_proba(inputs[part])[:, 1]
    return found


def _correlation(one: NDArray[np.floating], other: NDArray[np.float64]) -> float:
    if one.std() < 1e-9 or other.std() < 1e-9:
        return 0.0
    return float(np.corrcoef(one, other)[0, 1])
