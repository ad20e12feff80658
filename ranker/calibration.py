"""Make logits honest: Platt scaling, fitted on rows the model was not trained on."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit


@dataclass(frozen=True)
class Platt:
    """probability = sigmoid(slope * logit + shift)."""

    slope: float = 1.0
    shift: float = 0.0

    def probability(self, logits: NDArray[np.float64]) -> NDArray[np.float64]:
        return expit(self.slope * np.asarray(logits, np.float64) + self.shift)


def fit_platt(logits: NDArray[np.float64], label: NDArray[np.float32], steps: int = 50) -> Platt:
    """The slope and shift of least log loss, by Newton's method; a weak pull towards (1, 0) keeps them finite.

    A slope that would turn the order round (logits worse than nothing) is held at a small positive value.
    """
    logits, label = np.asarray(logits, np.float64), np.asarray(label, np.float64)
    inputs = np.stack([logits, np.ones_like(logits)], axis=1)
    start, pull = np.array([1.0, 0.0]), np.diag([1e-3, 1e-3])
    found = start.copy()
    for _ in range(steps):
        probability = expit(inputs @ found)
        slope = inputs.T @ (probability - label) + pull @ (found - start)
        curvature = (inputs * (probability * (1 - probability))[:, None]).T @ inputs + pull
        step = np.linalg.solve(curvature, slope)
        found = found - np.clip(step, -2.0, 2.0)
        if np.abs(step).max() < 1e-9:
            break
    return Platt(max(float(found[0]), 1e-3), float(found[1]))
