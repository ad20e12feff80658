"""EASE: a linear item-item model in closed form (Steck 2019, "Embarrassingly Shallow Autoencoders for Sparse Data")."""

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import lapack
from scipy.sparse import csr_matrix

from candidates.errors import CandidatesError
from candidates.models.model import UserItemModel
from candidates.models.user_items import item_gram
from candidates.protocols.splits import HeldOutUsers
from data.console import progress_bar
from data.settings import Positive, Settings

_ROWS = 1024
"""Rows handled at a time where a second full matrix would otherwise be made."""


class EaseConfig(Settings):
    """l2: the ridge penalty lambda, in users."""

    l2: Positive = 500.0


class Ease(UserItemModel):
    """Scores X B, where B has a zero diagonal and minimises |X - X B|^2 + lambda |B|^2.

    With P = (X^T X + lambda I)^-1, B_ij = -P_ij / P_jj off the diagonal (equation 8). P is computed by Cholesky
    factorisation in float64, in place: the condition number grows with the users (X^T X has an eigenvalue near the
    number of interactions per item), and float32 has seven digits to lose. Peak memory is 12 bytes per pair of items.
    `weights`: B, float32 [items, items].
    """

    title = "EASE"
    config_type = EaseConfig
    bytes_per_pair = 12

    def _fit(self, user_items: csr_matrix, validation: HeldOutUsers | None, show_progress: bool) -> None:
        with progress_bar("EASE", 3, shown=show_progress) as bar:
            gram = np.asfortranarray(item_gram(user_items), dtype=np.float64)
            gram[np.diag_indices_from(gram)] += self.config.l2
            bar.advance(note="factorise")
            factor, failed = lapack.dpotrf(gram, lower=1, clean=0, overwrite_a=1)
            if failed:
                raise CandidatesError(
                    f"EASE cannot invert its matrix with l2 {self.config.l2:g}; expected a greater l2"
                )
            bar.advance(note="invert")
            inverse, _ = lapack.dpotri(factor, lower=1, overwrite_c=1)
            self.weights = _weights_of(inverse)
            bar.advance()

    def _scores(self, user_items: csr_matrix) -> NDArray[np.float32]:
        return user_items @ self.weights

    def _similarity(self, items: NDArray[np.integer]) -> NDArray[np.float32]:
        return self.weights[items]

    def _state(self) -> dict[str, NDArray]:
        return {"weights": self.weights}

    def _restore(self, arrays: dict[str, NDArray]) -> None:
        self.weights = arrays["weights"]


def _weights_of(inverse: NDArray[np.float64]) -> NDArray[np.float32]:
    """B from the lower triangle of P."""
    items = len(inverse)
    diagonal = inverse.diagonal().copy()
    weights = np.empty((items, items), np.float32)
    for start in range(0, items, _ROWS):
        end = min(start + _ROWS, items)
        lower = inverse[start:end, :end] * (np.arange(end) <= np.arange(start, end)[:, None])
        weights[start:end, :end] = lower
        weights[:start, start:end] = lower[:, :start].T
        weights[start:end, start:end] += np.tril(lower[:, start:], -1).T.astype(np.float32)
    for start in range(0, items, _ROWS):
        weights[start : start + _ROWS] /= -diagonal
    weights[np.diag_indices(items)] = 0
    return weights
