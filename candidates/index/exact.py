"""Exact scans of a slice of item vectors: by inner product with a user, or by cosine with another item.

Rows are item vectors with their bias as one more dimension and queries are user vectors with a 1. Up to some 20,000
rows a matrix-vector product is as fast as a graph, and it is always right.
"""

import numpy as np
from numpy.typing import NDArray

NEVER = np.float32(-1e30)
"""The bias of an item that is not available: no scan takes a score this low."""


def best_rows(
    scores: NDArray[np.float32], k: int, excluded: NDArray[np.integer] | None = None
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The k rows of the highest scores [n] and those scores, best first, ties by row; `scores` is written into.

    Rows in `excluded` and rows whose score is as low as NEVER makes it are not returned.
    """
    if excluded is not None and len(excluded):
        scores[excluded] = NEVER
    if k < len(scores) and len(scores) > _SORTED:
        # every row that ties with the k-th score is kept, so that ties are broken by row and not by the partition
        bound = np.partition(scores, len(scores) - k)[len(scores) - k]
        rows = np.flatnonzero(scores >= bound)
        found = scores[rows]
        order = (-found).argsort(kind="stable")[:k]
        rows, found = rows[order], found[order]
    else:
        rows = (-scores).argsort(kind="stable")[:k]
        found = scores[rows]
    if len(found) and found[-1] <= _UNUSABLE:  # the lowest
        usable = found > _UNUSABLE
        rows, found = rows[usable], found[usable]
    return rows, found


_SORTED = 512
"""Up to so many rows sorting them all is faster than first finding the bound of the best."""

_UNUSABLE = NEVER / 2


def exact_search(
    vectors: NDArray[np.float32], query: NDArray[np.float32], k: int, excluded: NDArray[np.integer] | None = None
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The k rows of vectors [n, d] with the largest inner product with query [d]; see `best_rows`."""
    return best_rows(vectors @ query, k, excluded)


def inverse_norms(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """float32 [n]: 1 / |v| of vectors [n, d + 1] without their bias; 0 for a zero vector or an unavailable item."""
    squares = np.einsum("nd,nd->n", vectors[:, :-1], vectors[:, :-1])
    usable = (squares > 0) & (vectors[:, -1] > NEVER / 2)
    return np.where(usable, 1 / np.sqrt(np.where(usable, squares, 1)), 0).astype(np.float32)


def cosine_search(
    vectors: NDArray[np.float32],
    inverses: NDArray[np.float32],
    direction: NDArray[np.float32],
    k: int,
    excluded: NDArray[np.integer] | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The k available rows whose vectors have the largest cosine with direction [d] (of any length above 0).

    Args:
        vectors: float32 [n, d + 1], the bias last; it does not count.
        inverses: float32 [n], from `inverse_norms`.
    """
    query = np.zeros(vectors.shape[1], np.float32)
    query[:-1] = direction / np.linalg.norm(direction)
    scores = np.clip(vectors @ query * inverses, -1, 1)
    scores[inverses == 0] = NEVER
    return best_rows(scores, k, excluded)


def highest_biases(vectors: NDArray[np.float32], most: int = 4_096) -> NDArray[np.int32]:
    """int32 [<= most]: the available rows of vectors [n, d + 1] with the highest biases, best first, ties by row."""
    return best_rows(vectors[:, -1].copy(), most)[0].astype(np.int32)
