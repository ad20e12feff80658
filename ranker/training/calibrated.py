"""What a trained network predicts: logits of its heads, their probabilities, the score that orders candidates."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ranker.errors import RankerError
from ranker.evaluation.calibration import Platt, fit_platt
from ranker.features.examples import Examples
from ranker.features.specification import Specification
from ranker.networks.dlrm import Network
from ranker.training.batch import batch_of
from ranker.training.examples_source import host_rows
from ranker.training.objectives import Objectives
from ranker.training.settings import TrainingSettings

_PREDICT_ROWS = 16_384


class CalibratedNetwork:
    """A network with the calibration of each of its heads.

    Attributes:
        model: the network, unsharded. platt: what makes probabilities of its logits of clicks.
        objectives: what its score adds up. sale_platt: as `platt`, of the logits of sales; None: it has none.
    """

    name: str
    specification: Specification
    config: TrainingSettings
    model: Network
    platt: Platt
    sale_platt: Platt | None
    objectives: Objectives

    def calibrate(self, validation: Examples) -> None:
        """Each head on the rows whose labels are known; where none is, its calibration stays."""
        logits = self.head_logits(validation)
        self.platt = fit_platt(logits[0], validation.label)
        if self.sale_platt is not None:
            known = ~np.isnan(validation.known_sales)
            if known.any():
                self.sale_platt = fit_platt(logits[1][known], validation.known_sales[known])

    def logits(self, examples: Examples) -> NDArray[np.float64]:
        """float64 [n], of clicks, before calibration."""
        return self.head_logits(examples)[0]

    def head_logits(self, examples: Examples) -> NDArray[np.float64]:
        """float64 [heads, n], before calibration: of clicks, then of sales if it predicts them."""
        heads = self.config.shape.heads
        found = np.empty((heads, len(examples)))
        read: Any = self.model.of_heads if heads > 1 else self.model
        names = [one.name for one in self.specification.table_features]
        with torch.no_grad():
            for start in range(0, len(examples), _PREDICT_ROWS):
                rows = np.arange(start, min(start + _PREDICT_ROWS, len(examples)))
                batch = batch_of(host_rows(examples, rows, self.specification), names, len(rows), 1.0)
                found[:, rows] = read(batch.dense, batch.bags, batch.position).numpy().reshape(-1, heads).T
        return found

    def probability(self, examples: Examples) -> NDArray[np.float64]:
        """float64 [n], of a click."""
        return self.platt.probability(self.logits(examples))

    def sale_probability(self, examples: Examples) -> NDArray[np.float64]:
        """float64 [n]. Raises RankerError where it has no such head."""
        if self.sale_platt is None:
            raise RankerError(f"{self.name} predicts no sales; expected objectives with a weight of sales")
        return self.sale_platt.probability(self.head_logits(examples)[1])

    def scores(self, examples: Examples) -> NDArray[np.float64]:
        """float64 [n]: what candidates are ordered by when served, but for the position bias."""
        logits = self.head_logits(examples)
        platts = [one for one in (self.platt, self.sale_platt) if one is not None]
        return self.objectives.scores(np.stack([one.probability(row) for one, row in zip(platts, logits, strict=True)]))
