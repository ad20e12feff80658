"""Is a newly trained ranker better than the one in service? Both predict the same later displays, in pairs."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.statistics import standard_error
from ranker.evaluation.metrics import log_losses, ndcg_of_requests

SURE = 2.0
"""A difference of so many standard errors is not put down to chance."""


@dataclass(frozen=True)
class Difference:
    """New less old, and its standard error over requests."""

    mean: float
    se: float

    def __str__(self) -> str:
        return f"{self.mean:+.4f} ± {self.se:.4f}"


@dataclass(frozen=True)
class Comparison:
    """The new ranker less the one in service, on the same rows.

    Attributes:
        log_loss: per row, of both as they are served.
        recalibrated: the same, had the old ranker been given the calibration that the present rate of clicks asks for:
            what the new one knows beyond that rate.
        ndcg: NDCG@10 per request with a positive. The displays are in the old ranker's order, and slots further up are
            clicked more often, so that this favours the old one; it is told, and decides nothing.
        requests, rows, positives: what it was measured on.
    """

    log_loss: Difference
    recalibrated: Difference
    ndcg: Difference
    requests: int
    rows: int
    positives: int

    @property
    def worse(self) -> str:
        """Why the new ranker is not to be published; empty if it is."""
        if not self.log_loss.mean < 0:
            return f"its log loss is not lower: {self.log_loss}"
        if self.recalibrated.mean > SURE * self.recalibrated.se:
            return f"its log loss is higher than that of the running one, recalibrated: {self.recalibrated}"
        return ""

    def figures(self) -> dict[str, Any]:
        return asdict(self) | {"worse": self.worse}


def compare(
    label: NDArray[np.float32],
    new: NDArray[np.float64],
    old: NDArray[np.float64],
    recalibrated: NDArray[np.float64],
    request: NDArray[np.int64],
) -> Comparison:
    """Compare probabilities of two rankers on n rows; rows of one request share its number.

    `recalibrated`: the old ranker's probabilities with a calibration fitted on the rows that the new one's was.
    """
    ndcg = ndcg_of_requests(label, new, request) - ndcg_of_requests(label, old, request)
    return Comparison(
        log_loss=_ratio(log_losses(label, new) - log_losses(label, old), request),
        recalibrated=_ratio(log_losses(label, new) - log_losses(label, recalibrated), request),
        ndcg=Difference(float(ndcg.mean()) if len(ndcg) else 0.0, standard_error(ndcg) if len(ndcg) > 1 else np.inf),
        requests=len(np.unique(request)),
        rows=len(label),
        positives=int(label.sum()),
    )


def _ratio(values: NDArray[np.float64], request: NDArray[np.int64]) -> Difference:
    """The mean over rows. Rows of a request are not independent: the error is that of a ratio of sums over requests."""
    codes = np.unique(request, return_inverse=True)[1]
    totals, rows = np.bincount(codes, values), np.bincount(codes)
    mean = totals.sum() / rows.sum()
    count = len(rows)
    spread = np.sum((totals - mean * rows) ** 2) * count / max(count - 1, 1)
    return Difference(float(mean), float(np.sqrt(spread) / rows.sum()))
