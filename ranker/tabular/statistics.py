"""What clicks did on rows with the same id: smoothed log-odds and counts, as dense features of every model.

A training row must not see its own label: the statistics of its part of the rows come from the other parts
(out of fold). Parts are stretches of the log, since neighbouring rows may stem from the same impression.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

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


@dataclass(frozen=True)
class Smoothing:
    """`prior`: rows of the base rate added to every id. `folds`: parts that the training rows are cut into."""

    prior: float = 12.0
    folds: int = 5


def log_odds(
    seen: NDArray[np.float64], clicked: NDArray[np.float64], rate: float, smoothing: Smoothing
) -> tuple[Floats, Floats]:
    """(log-odds of a click relative to the base rate's, log(1 + seen)), float32 [n] each; (0, 0) for an unseen id."""
    prior = smoothing.prior
    smoothed = (clicked + prior * rate) / (seen + prior)
    relative = np.log(smoothed / (1 - smoothed)) - np.log(rate / (1 - rate))
    return relative.astype(np.float32), np.log1p(seen).astype(np.float32)


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
