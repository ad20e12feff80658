"""What clicks did on rows with the same id: log-odds, surprise and counts, as dense features of every model.

A training row must not see its own label: the statistics of its part of the rows come from the other parts
(out of fold). Parts are stretches of the log, since neighbouring rows may stem from the same impression.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ranker.comparison.settings import Smoothing

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class ColumnStatistics:
    """Of one column: its distinct ids, ascending, and how often each was seen and clicked in the training rows."""

    ids: NDArray[np.int64]
    seen: NDArray[np.float64]
    clicked: NDArray[np.float64]

    @classmethod
    def of(cls, column: NDArray[np.int64], label: Floats) -> "ColumnStatistics":
        ids, place = np.unique(column, return_inverse=True)
        seen = np.bincount(place, minlength=len(ids)).astype(np.float64)
        clicked = np.bincount(place, weights=label, minlength=len(ids)).astype(np.float64)
        return cls(ids, seen, clicked)

    def look_up(self, column: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(seen, clicked) per row, float64 [n]; 0 for an id that training never saw."""
        place = np.minimum(np.searchsorted(self.ids, column), len(self.ids) - 1)
        known = self.ids[place] == column
        return np.where(known, self.seen[place], 0.0), np.where(known, self.clicked[place], 0.0)


STATISTICS = ("log_odds", "surprise", "seen")
"""What `statistics_of` tells of an id, in this order."""

_LEAST_VARIANCE = 4.0


def statistics_of(seen: NDArray[np.float64], clicked: NDArray[np.float64], rate: float, smoothing: Smoothing) -> Floats:
    """float32 [n, 3], all 0 for an unseen id:

    - the smoothed log-odds of a click relative to the base rate's: how much an id's rows differ from others;
    - clicks beyond the base rate's, in standard deviations of their number: how sure that is. A linear model or a small
      network cannot make it of the other two, which a tree can;
    - log(1 + seen).
    """
    surprise = (clicked - seen * rate) / np.sqrt(seen * rate * (1 - rate) + _LEAST_VARIANCE)
    return np.stack([log_odds(seen, clicked, rate, smoothing), surprise, np.log1p(seen)], axis=1).astype(np.float32)


def log_odds(
    seen: NDArray[np.float64], clicked: NDArray[np.float64], rate: float, smoothing: Smoothing
) -> NDArray[np.float64]:
    """float64 [n]: of a click, smoothed, less the base rate's."""
    prior = smoothing.prior
    smoothed = (clicked + prior * rate) / (seen + prior)
    return np.log(smoothed / (1 - smoothed)) - np.log(rate / (1 - rate))


def out_of_fold(
    column: NDArray[np.int64], label: Floats, smoothing: Smoothing
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(seen, clicked) per training row, float64 [n], counted on the parts of the rows that it is not in.

    Scaled up as if counted on all of them, so that training and serving see counts of one size.
    """
    ids, place = np.unique(column, return_inverse=True)
    count, folds = len(column), smoothing.folds
    fold = np.arange(count) * folds // max(count, 1)
    cell = fold * len(ids) + place
    seen = np.bincount(cell, minlength=folds * len(ids)).reshape(folds, -1).astype(np.float64)
    clicked = np.bincount(cell, weights=label, minlength=folds * len(ids)).reshape(folds, -1)
    scale = folds / (folds - 1)
    others_seen, others_clicked = seen.sum(axis=0) - seen, clicked.sum(axis=0) - clicked
    return others_seen[fold, place] * scale, others_clicked[fold, place] * scale
