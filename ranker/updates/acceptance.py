"""Is a newly trained ranker better than the one in service? Both predict the same later displays, in pairs."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ranker.banner.guard import Verdict, judged
from ranker.evaluation.differences import SURE, Difference
from ranker.evaluation.metrics import log_losses, ndcg_of_requests
from ranker.features.examples import Examples
from ranker.training.ranker import DlrmRanker


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
        log_loss=Difference.of_rows(log_losses(label, new) - log_losses(label, old), request),
        recalibrated=Difference.of_rows(log_losses(label, new) - log_losses(label, recalibrated), request),
        ndcg=Difference.of_requests(ndcg),
        requests=len(np.unique(request)),
        rows=len(label),
        positives=int(label.sum()),
    )


def succeeding(before: Verdict, ranker: DlrmRanker, validation: Examples, test: Examples) -> Verdict:
    """Of a ranker trained on from another: it is judged on the displays, and falls back on the other's share.

    `validation`, `test`: later displays.
    """
    kept = before.changed(why="it goes on as the ranker before it did", figures={})
    if before.serve != "auto":
        return kept
    found = judged(ranker, validation, test, from_log=True)
    return found if found.serves or not before.serves else kept
