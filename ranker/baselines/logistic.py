"""Logistic regression on the same examples: the LED paper's own ranker, and DLRM's rival here."""

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sparse
from numpy.typing import NDArray

from ranker.evaluation.calibration import Platt, fit_platt
from ranker.evaluation.metrics import log_loss
from ranker.features.examples import NO_ROW, Examples, row_of_position
from ranker.features.pooling import pooling_weights
from ranker.features.specification import Specification

STRENGTHS = (0.003, 0.03, 0.3)
"""Inverse regularisation strengths tried; the validation rows choose."""


@dataclass(frozen=True)
class Weights:
    """Of a fitted logistic regression, float64.

    Attributes:
        mean, scale, dense: [D]; a dense feature adds (value - mean) * scale * dense to the logit.
        position: [positions + 1], by row of the position. features: by name, [rows of its table].
    """

    mean: NDArray[np.float64]
    scale: NDArray[np.float64]
    dense: NDArray[np.float64]
    position: NDArray[np.float64]
    features: dict[str, NDArray[np.float64]]
    intercept: float


class LogisticRanker:
    """One weight per table row (single-valued features one-hot, bags pooled), slot position and dense feature."""

    name = "logistic regression"

    def __init__(self, specification: Specification, rows: dict[str, int]) -> None:
        self._specification, self._rows = specification, rows
        self._mean = self._scale = self._weights = np.empty(0)
        self._intercept, self._strength = 0.0, STRENGTHS[0]
        self.platt = Platt()

    def fit(self, train: Examples, validation: Examples, seed: int) -> None:
        self._standardise(train)
        inputs, held_out = self._inputs(train), self._inputs(validation)
        best = np.inf
        for strength in STRENGTHS:
            model = _fitted(inputs, train.label, strength, seed)
            loss = log_loss(validation.label, model.predict_proba(held_out)[:, 1])
            if loss < best:
                best, self._weights, self._intercept = loss, model.coef_[0], float(model.intercept_[0])
                self._strength = strength
        self.platt = fit_platt(self.logits(validation), validation.label)

    def refit(self, train: Examples, rows: dict[str, int], seed: int) -> None:
        """On other rows, with the strength that validation found best; without `fit` the strongest regularisation."""
        self._rows = rows
        self._standardise(train)
        model = _fitted(self._inputs(train), train.label, self._strength, seed)
        self._weights, self._intercept = model.coef_[0], float(model.intercept_[0])

    @property
    def specification(self) -> Specification:
        return self._specification

    @property
    def rows(self) -> dict[str, int]:
        """Of each table."""
        return self._rows

    @property
    def weights(self) -> "Weights":
        """Of a fitted model."""
        blocks = [
            self._specification.positions + 1,
            *(self._rows[one.table] for one in self._specification.table_features),
        ]
        dense, position, *of_features = np.split(self._weights, len(self._mean) + np.cumsum([0, *blocks])[:-1])
        names = [one.name for one in self._specification.table_features]
        features = dict(zip(names, of_features, strict=True))
        return Weights(self._mean, self._scale, dense, position, features, self._intercept)

    def logits(self, examples: Examples) -> NDArray[np.float64]:
        return self._inputs(examples) @ self._weights + self._intercept

    def _standardise(self, train: Examples) -> None:
        self._mean, deviation = train.dense.mean(axis=0), train.dense.std(axis=0)
        self._scale = np.where(deviation > 1e-6, 1 / np.maximum(deviation, 1e-6), 0.0)

    def _inputs(self, examples: Examples) -> sparse.csr_matrix:
        """Sparse [n, dense + position rows + table rows of every feature]."""
        count = len(examples)
        every = np.arange(count)
        blocks = [sparse.csr_matrix((examples.dense - self._mean) * self._scale)]
        position = row_of_position(examples.position, self._specification.positions)
        blocks.append(_one_hot(every, position, np.ones(count), (count, self._specification.positions + 1)))
        for k, feature in enumerate(self._specification.singles):
            blocks.append(_one_hot(every, examples.single[:, k], np.ones(count), (count, self._rows[feature.table])))
        for of_bag, (bag, given) in zip(self._specification.bags, examples.of_bags(), strict=True):
            there = bag != NO_ROW
            weight = pooling_weights(of_bag, there.sum(axis=1), bag.shape[1], given)[there]
            pooled = _one_hot(np.nonzero(there)[0], bag[there], weight, (len(bag), self._rows[of_bag.table]))
            blocks.append(pooled[examples.request])
        return sparse.hstack(blocks, format="csr")


def _fitted(inputs: sparse.csr_matrix, label: NDArray[np.float32], strength: float, seed: int) -> Any:
    """scikit-learn's model; stopping after 200 iterations is meant, and not worth a warning."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return LogisticRegression(C=strength, max_iter=200, random_state=seed).fit(inputs, label)


def _one_hot(
    row: NDArray[np.integer], column: NDArray[np.integer], value: NDArray[np.floating], shape: tuple[int, int]
) -> sparse.csr_matrix:
    return sparse.csr_matrix((value, (row, column)), shape=shape)
