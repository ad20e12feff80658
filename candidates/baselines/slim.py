"""SLIM: a sparse, non-negative item-item model (Ning and Karypis 2011), by coordinate descent on the Gram matrix."""

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csc_matrix, csr_matrix, hstack

from candidates.models.model import UserItemModel
from candidates.models.user_items import item_gram
from candidates.protocols.splits import HeldOutUsers
from data.console import progress_bar
from data.settings import AtLeastZero, Count, Positive, Settings

BLOCK_BYTES = 256 << 20
"""Columns are solved in blocks whose working matrix is no larger than this."""


class SlimConfig(Settings):
    """The elastic net of |X - X W|^2 / 2 + l2 |W|_2^2 / 2 + l1 |W|_1.

    l1, l2: penalties, in users. tolerance: a sweep that changes no weight by more than this share of the largest one
    ends the descent. sweeps: at most so many.
    """

    l1: AtLeastZero = 2.0
    l2: Positive = 200.0
    tolerance: Positive = 3e-3
    sweeps: Count = 100


class Slim(UserItemModel):
    """Scores X W with W >= 0 and a zero diagonal. `weights`: W, csr float32 [items, items].

    Only X^T X enters, so the cost does not depend on the number of users. All columns of a block descend together: item
    i's weights in all of them are one vector operation, and only columns in which item i's weight changed are updated.
    """

    title = "SLIM"
    config_type = SlimConfig
    bytes_per_pair = 8

    def _fit(self, user_items: csr_matrix, validation: HeldOutUsers | None, show_progress: bool) -> None:
        gram = item_gram(user_items)
        items = len(gram)
        width = max(1, BLOCK_BYTES // (4 * items))
        blocks = []
        with progress_bar("SLIM", items, shown=show_progress) as bar:
            for start in range(0, items, width):
                columns = np.arange(start, min(start + width, items))
                blocks.append(csc_matrix(descend(gram, columns, self.config).T))
                bar.advance(len(columns))
        self.weights = hstack(blocks, format="csr", dtype=np.float32)

    def _scores(self, user_items: csr_matrix) -> NDArray[np.float32]:
        return (user_items @ self.weights).toarray()

    def _similarity(self, items: NDArray[np.integer]) -> NDArray[np.float32]:
        return self.weights[items].toarray()

    def _state(self) -> dict[str, NDArray]:
        return {"values": self.weights.data, "columns": self.weights.indices, "starts": self.weights.indptr}

    def _restore(self, arrays: dict[str, NDArray]) -> None:
        parts, items = (arrays["values"], arrays["columns"], arrays["starts"]), self._fitted()
        self.weights = csr_matrix(parts, shape=(items, items))


def descend(gram: NDArray[np.float32], columns: NDArray[np.intp], config: SlimConfig) -> NDArray[np.float32]:
    """The weights of some columns, transposed: float32 [columns, items].

    Coordinate descent (Friedman et al. 2010, section 2.2): with all else fixed, item i's weight in column j is
    max(0, G_ij - sum over k != i of G_ik W_kj - l1) / (G_ii + l2). `explained` keeps (G W)^T.
    """
    items = len(gram)
    weights = np.zeros((len(columns), items), np.float32)
    explained = np.zeros((len(columns), items), np.float32)
    diagonal = gram.diagonal()
    taken = np.flatnonzero(diagonal)  # an item nobody took has no weight
    own = np.full(items, -1)
    own[columns] = np.arange(len(columns))
    for _ in range(config.sweeps):
        greatest_change = 0.0
        for i in taken.tolist():
            before = weights[:, i]
            rest = gram[i, columns] - explained[:, i] + diagonal[i] * before - config.l1
            after = np.maximum(rest, 0) / (diagonal[i] + config.l2)
            if own[i] >= 0:
                after[own[i]] = 0
            change = after - before
            moved = np.flatnonzero(change)
            if len(moved):
                weights[moved, i] = after[moved]
                explained[moved] += change[moved, None] * gram[i]
                greatest_change = max(greatest_change, float(np.abs(change).max()))
        if greatest_change <= config.tolerance * max(float(weights.max()), 1e-12):
            break
    return weights
