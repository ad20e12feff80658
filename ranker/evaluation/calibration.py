"""Make logits honest: Platt scaling, fitted on rows the model was not trained on."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

_LEAST_SLOPE = 1e-3


@dataclass(frozen=True)
class Platt:
    """probability = sigmoid(slope * logit + shift)."""

    slope: float = 1.0
    shift: float = 0.0

    def probability(self, logits: NDArray[np.floating]) -> NDArray[np.float64]:
        return expit(self.slope * np.asarray(logits, np.float64) + self.shift)


def fit_platt(logits: NDArray[np.floating], label: NDArray[np.float32], steps: int = 50) -> Platt:
    """The slope and shift of least log loss, by Newton's method; a weak pull towards (1, 0) keeps them finite.

    A slope that would turn the order round (logits worse than nothing) is held at a small positive value, and the
    shift is the best for that one.
    """
    exact, wanted = np.asarray(logits, np.float64), label.astype(np.float64)
    found = _newton(np.stack([exact, np.ones_like(exact)], axis=1), np.zeros_like(exact), wanted, [1.0, 0.0], steps)
    if found[0] >= _LEAST_SLOPE:
        return Platt(float(found[0]), float(found[1]))
    shift = _newton(np.ones((len(exact), 1)), _LEAST_SLOPE * exact, wanted, [0.0], steps)
    return Platt(_LEAST_SLOPE, float(shift[0]))


def _newton(
    inputs: NDArray[np.float64], fixed: NDArray[np.float64], label: NDArray[np.float64], start: list[float], steps: int
) -> NDArray[np.float64]:
    """The weights of least log loss of sigmoid(inputs @ weights + fixed), pulled weakly towards `start`."""
    begin, pull = np.array(start), 1e-3 * np.eye(len(start))
    found = begin.copy()
    for _ in range(steps):
        probability = expit(inputs @ found + fixed)
        slope = inputs.T @ (probability - label) + pull @ (found - begin)
        curvature = (inputs * (probability * (1 - probability))[:, None]).T @ inputs + pull
        step = np.linalg.solve(curvature, slope)
        found = found - np.clip(step, -2.0, 2.0)
        if np.abs(step).max() < 1e-9:
            break
    return found
