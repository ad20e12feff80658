"""What a candidate's score adds up: the weighted probabilities of what the user may do with it."""

from typing import Self

import numpy as np
from numpy.typing import NDArray
from pydantic import model_validator

from data.settings import AtLeastZero, Positive, Settings


class Objectives(Settings):
    """A score is (sum over actions of weight x probability) / (sum of weights), the form of X's weighted scorer
    (xai-org/x-algorithm), here within (0, 1). With clicks alone it is their probability.

    Attributes:
        click: weight of a landed click. sale: of a sale that the slot earns; 0: sales are not predicted.
        sale_wait_days: how much older than the newest display one must be for its sales to be known; None: the window
            of the attribution.
    """

    click: AtLeastZero = 1.0
    sale: AtLeastZero = 0.0
    sale_wait_days: Positive | None = None

    @model_validator(mode="after")
    def _something_counts(self) -> Self:
        if not self.click + self.sale:
            raise ValueError("click and sale have weight 0; expected a weight above it for one of them")
        return self

    @property
    def heads(self) -> int:
        """How many probabilities a network has to give."""
        return 2 if self.sale else 1

    @property
    def shares(self) -> tuple[float, ...]:
        """Of each head in the score, clicks first."""
        weights = (self.click, self.sale)[: self.heads]
        return tuple(weight / sum(weights) for weight in weights)

    def scores(self, probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
        """float64 [n] of probabilities float64 [heads, n]."""
        return np.asarray(self.shares) @ probabilities


CLICKS = Objectives()
"""Clicks alone, the default."""
