"""How good the network is on held-out rows, measured by all processes together; AUC from every score, not from bins."""

from typing import Any, NamedTuple

import numpy as np
import torch
import torch.distributed as distributed
from numpy.typing import NDArray
from scipy.special import expit
from torch import nn

from ranker.evaluation.metrics import (
    accuracy,
    area_under_curve,
    calibration,
    calibration_error,
    log_loss,
    normalised_entropy,
)
from ranker.training.batch import Batch
from ranker.training.feed import share_of
from ranker.training.launch import ProcessContext
from ranker.training.source import Source, Split

SHOWN = ("auc", "log_loss", "normalised_entropy", "accuracy", "calibration_error")


class Predicted(NamedTuple):
    """Logits and labels of n rows, float32 [n] each, on the first process; none on the others."""

    logit: NDArray[np.float32]
    label: NDArray[np.float32]

    def probability(self) -> NDArray[np.float64]:
        """float64 [n], before any calibration."""
        return expit(self.logit.astype(np.float64))


def predict(
    model: nn.Module, source: Source, split: Split, process: ProcessContext, batch: int, most: int | None = None
) -> Predicted:
    """Predict one split; of every process the same call. The first process gathers 12 bytes a row, in no order.

    `batch`: rows of a step, over all processes. `most`: look at about so many rows, whole steps spread evenly over the
    split.
    """
    every = 1 if most is None else max(1, -(-source.rows(split) // most))
    was_training = model.training
    model.eval()
    found = []
    with torch.no_grad():
        for number, rows in enumerate(source.batches(split, batch, None, 0)):
            if number % every == 0:
                share = share_of(rows, source, process.rank, process.world)
                found.append(_predicted(model, share.to(process.device)))
    model.train(was_training)
    gathered = _gather(torch.cat(found, dim=1) if found else torch.empty(3, 0), process)
    return Predicted(gathered[0], gathered[1])


def figures_of(predicted: Predicted) -> dict[str, Any]:
    """All figures of predicted rows."""
    (logit, label), probability = predicted, predicted.probability()
    if not len(label):
        return {"rows": 0}
    return {
        "rows": len(label),
        "auc": area_under_curve(label, logit),
        "log_loss": log_loss(label, probability),
        "normalised_entropy": normalised_entropy(label, probability),
        "accuracy": accuracy(label, probability),
        "calibration_error": calibration_error(label, probability),
        "predicted_rate": float(probability.mean()),
        "observed_rate": float(label.mean()),
        "calibration": calibration(label, probability),
    }


def _predicted(model: nn.Module, batch: Batch) -> torch.Tensor:
    """float32 [3, b] on the CPU: logit, label, and whether the row is real."""
    _, (logits, _) = model(batch)
    return torch.stack([logits.float(), batch.clicks, batch.weight]).cpu()


def _gather(own: torch.Tensor, process: ProcessContext) -> np.ndarray:
    """The rows of all processes on the first one, padding left out. Shares have one size, so `own` has too."""
    parts = [own]
    if process.world > 1:
        parts = [torch.empty_like(own) for _ in range(process.world)] if process.first else []
        distributed.gather(own.contiguous(), parts or None)
    together = torch.cat(parts, dim=1).numpy() if parts else np.empty((3, 0), np.float32)
    return together[:2, together[2] > 0]
