"""How good predictions are: discrimination, honesty of the probabilities, and order within a request.

`label` is 0 or 1 [n], `probability` float64 [n] in (0, 1), `score` anything that orders, `request` int64 [n].
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

Array = NDArray[Any]

_TINY = 1e-12


def area_under_curve(label: Array, score: Array) -> float:
    """AUC: how often a positive outscores a negative; a tie counts half. NaN if there is only one class."""
    positives = int(label.sum())
    negatives = len(label) - positives
    if not positives or not negatives:
        return float("nan")
    ranks = rankdata(score)
    return float((ranks[label > 0].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def log_loss(label: Array, probability: Array) -> float:
    """Mean binary cross entropy, in nats."""
    return float(log_losses(label, probability).mean())


def log_losses(label: Array, probability: Array) -> NDArray[np.float64]:
    """Binary cross entropy of each row, in nats."""
    probability = np.clip(np.asarray(probability, np.float64), _TINY, 1 - _TINY)
    return -np.where(label > 0, np.log(probability), np.log1p(-probability))


def normalised_entropy(label: Array, probability: Array) -> float:
    """Log loss relative to that of the constant base rate: below 1 is better than knowing nothing.

    He et al., "Practical Lessons from Predicting Clicks on Ads at Facebook", 2014, equation 1.
    """
    rate = float(np.mean(label))
    if rate in (0.0, 1.0):
        return float("nan")
    return log_loss(label, probability) / log_loss(label, np.full(len(label), rate))


def accuracy(label: Array, probability: Array) -> float:
    """Share of rows whose class is the more probable one; at one half, no click. NaN of no rows."""
    return float(np.mean((np.asarray(probability) > 0.5) == (np.asarray(label) > 0))) if len(label) else float("nan")


def calibration(label: Array, probability: Array, buckets: int = 10) -> list[dict[str, float]]:
    """Equally many rows per bucket, by rising probability: rows, mean predicted and observed rate of each."""
    order = np.argsort(probability, kind="stable")
    return [
        {"rows": len(part), "predicted": float(probability[part].mean()), "observed": float(label[part].mean())}
        for part in np.array_split(order, min(buckets, len(order)))
    ]


def calibration_error(label: Array, probability: Array, buckets: int = 10) -> float:
    """Mean over rows of |predicted - observed| of their bucket."""
    parts = calibration(label, probability, buckets)
    return sum(part["rows"] * abs(part["predicted"] - part["observed"]) for part in parts) / max(len(label), 1)


def ndcg(label: Array, score: Array, request: Array, k: int = 10) -> float:
    """Mean NDCG@k over the requests that have a positive, binary gains. NaN if none has."""
    of_request = ndcg_of_requests(label, score, request, k)
    return float(of_request.mean()) if len(of_request) else float("nan")


def ndcg_of_requests(label: Array, score: Array, request: Array, k: int = 10) -> NDArray[np.float64]:
    """float64 [requests that have a positive], in their order: NDCG@k with binary gains.

    Rows of equal score share the mean discount of the places they occupy, so that an uninformed ranker cannot profit
    from the order in which rows happen to lie.
    """
    request = _dense_codes(request)
    order = np.lexsort((-np.asarray(score, np.float64), request))
    request, label, score = request[order], np.asarray(label)[order], np.asarray(score)[order]
    first = np.flatnonzero(np.diff(request, prepend=-1))
    place = np.arange(len(request)) - first[request]
    gain = np.where(place < k, 1 / np.log2(place + 2), 0.0)
    new_tie = np.diff(score, prepend=np.inf) != 0
    new_tie[first] = True
    tie = np.cumsum(new_tie) - 1
    shared = (np.bincount(tie, gain) / np.bincount(tie))[tie]
    achieved = np.bincount(request, shared * (label > 0))
    positives = np.bincount(request, label > 0).astype(int)
    ideal = np.concatenate([[0], np.cumsum(1 / np.log2(np.arange(k) + 2))])[np.minimum(positives, k)]
    counted = positives > 0
    return achieved[counted] / ideal[counted]


def grouped_area_under_curve(label: Array, score: Array, request: Array) -> float:
    """Mean AUC within a request, over requests with both classes, weighted by their rows. NaN if there is none."""
    request = _dense_codes(request)
    label = np.asarray(label) > 0
    order = np.lexsort((score, request))
    sizes = np.bincount(request)
    starts = np.cumsum(sizes) - sizes
    tie = (
        np.cumsum((np.diff(np.asarray(score)[order], prepend=np.nan) != 0) | (np.diff(request[order], prepend=-1) != 0))
        - 1
    )
    place = np.arange(1, len(order) + 1) - starts[request[order]]
    rank = np.empty(len(order))
    rank[order] = (np.bincount(tie, place) / np.bincount(tie))[tie]
    positives = np.bincount(request, label)
    negatives = sizes - positives
    both = (positives > 0) & (negatives > 0)
    if not both.any():
        return float("nan")
    above = np.bincount(request, rank * label) - positives * (positives + 1) / 2
    return float(np.average(above[both] / (positives * negatives)[both], weights=sizes[both]))


def all_metrics(label: Array, probability: Array, request: Array) -> dict[str, Any]:
    """Every figure at once, by name."""
    return {
        "auc": area_under_curve(label, probability),
        "log_loss": log_loss(label, probability),
        "normalised_entropy": normalised_entropy(label, probability),
        "accuracy": accuracy(label, probability),
        "calibration_error": calibration_error(label, probability),
        "ndcg@10": ndcg(label, probability, request),
        "grouped_auc": grouped_area_under_curve(label, probability, request),
        "predicted_rate": float(np.mean(probability)),
        "observed_rate": float(np.mean(label)),
        "calibration": calibration(label, probability),
    }


def all_metrics_beside_constant(label: Array, probability: Array) -> dict[str, dict[str, Any]]:
    """Every figure of plain rows, and those of their rate, predicted for each; none of an order within requests."""
    rows = np.arange(len(label))
    rate = float(np.mean(label)) if len(label) else 0.0
    found = {
        "DLRM": all_metrics(label, probability, rows),
        "constant": all_metrics(label, np.full(len(label), rate), rows),
    }
    return {
        name: {key: one for key, one in figures.items() if key not in ("ndcg@10", "grouped_auc")}
        for name, figures in found.items()
    }


def _dense_codes(request: Array) -> NDArray[np.int64]:
    return np.unique(request, return_inverse=True)[1].astype(np.int64)
