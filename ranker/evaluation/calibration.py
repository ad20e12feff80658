"""Make logits honest: Platt scaling, fitted on rows the model was not trained on."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit

_LEAST_SLOPE = 1e-3
_PULL = 1e-3


@dataclass(frozen=True)
class Platt:
    """probability = sigmoid(slope * logit + shift)."""

    slope: float = 1.0
    shift: float = 0.0

    def probability(self, logits: NDArray[np.floating]) -> NDArray[np.float64]:
        return expit(self.slope * np.asarray(logits, np.float64) + self.shift)


def fit_platt(logits: NDArray[np.floating], label: NDArray[np.float32]) -> Platt:
    """The slope and shift of least log loss; a weak pull towards (1, 0) keeps them finite.

    A slope that would turn the order round (logits worse than nothing) is held at a small positive value, and the
    shift is the best for that one.
    """
    exact, wanted = np.asarray(logits, np.float64), label.astype(np.float64)
    found = _least_loss(np.stack([exact, np.ones_like(exact)], axis=1), np.zeros_like(exact), wanted, [1.0, 0.0])
    if found[0] >= _LEAST_SLOPE:
        return Platt(float(found[0]), float(found[1]))
    shift = _least_loss(np.ones((len(exact), 1)), _LEAST_SLOPE * exact, wanted, [0.0])
    return Platt(_LEAST_SLOPE, float(shift[0]))


def _least_loss(
    inputs: NDArray[np.float64], fixed: NDArray[np.float64], label: NDArray[np.float64], start: list[float]
) -> NDArray[np.float64]:
    """The weights of least log loss of sigmoid(inputs @ weights + fixed), pulled weakly towards `start`.

    By Newton's method within a region of trust: whole steps may go to and fro for ever.
    """
    begin = np.array(start)

    def loss(weights: NDArray[np.float64]) -> float:
        logit, away = inputs @ weights + fixed, weights - begin
        return float(np.sum(np.logaddexp(0, logit) - label * logit) + _PULL / 2 * away @ away)

    def slope(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        return inputs.T @ (expit(inputs @ weights + fixed) - label) + _PULL * (weights - begin)

    def curvature(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        probability = expit(inputs @ weights + fixed)
        return (inputs * (probability * (1 - probability))[:, None]).T @ inputs + _PULL * np.eye(len(begin))

    found = minimize(loss, begin, jac=slope, hess=curvature, method="trust-exact", options={"gtol": 1e-9})
    weights: NDArray[np.float64] = found.x
    return weights
