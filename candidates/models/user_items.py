"""The binary user-item matrix that models learn from: what it must be, and its Gram matrix."""

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, issparse

from candidates.errors import CandidatesError

GRAM_ROWS = 1024
"""Rows of X^T X that are computed at a time."""


def checked_matrix(user_items: csr_matrix) -> csr_matrix:
    """The matrix as float32 csr with sorted columns and no explicit zeros; the caller's is left as it is.

    Raises:
        CandidatesError: not a sparse matrix, or an entry other than 1.
    """
    if not issparse(user_items) or user_items.ndim != 2:
        raise CandidatesError(
            f"a user-item matrix must be a sparse matrix of two dimensions, found {type(user_items).__name__}"
        )
    matrix = csr_matrix(user_items, dtype=np.float32, copy=True)
    matrix.sum_duplicates()
    matrix.eliminate_zeros()
    if matrix.nnz and not np.array_equal(matrix.data, np.ones_like(matrix.data)):
        other = matrix.data[matrix.data != 1][0]
        raise CandidatesError(f"a user-item matrix must hold 1 for each item a user took, found {other:g}")
    return matrix


def item_gram(user_items: csr_matrix) -> NDArray[np.float32]:
    """X^T X, float32 [items, items]: how many users took both items. Exact up to 2^24 users."""
    items = user_items.shape[1]
    by_item = user_items.T.tocsr()
    gram = np.empty((items, items), np.float32)
    for start in range(0, items, GRAM_ROWS):  # the sparse product of all rows at once would take three times the memory
        gram[start : start + GRAM_ROWS] = (by_item[start : start + GRAM_ROWS] @ user_items).toarray()
    return gram


def check_targets(model: str, inputs: csr_matrix, targets: csr_matrix) -> None:
    """Raises CandidatesError unless both are matrices [users, items] of one shape and there is a target; `model` is
    what the sentence begins with."""
    if inputs.shape != targets.shape or not targets.nnz:
        raise CandidatesError(
            f"{model} learns from inputs {inputs.shape} and targets {targets.shape} with {targets.nnz} items; "
            "expected the same shape and at least one target"
        )
