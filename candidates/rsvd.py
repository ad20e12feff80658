"""Randomised singular value decomposition over blocks of rows.

Every step is either a function of one block or a sum of small matrices over blocks, so the same functions can run where
the blocks lie. Algorithm: Halko, Martinsson and Tropp, "Finding structure with randomness" (2011), 4.4 and 5.1.
"""

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from candidates.errors import CandidatesError

Dense = NDArray[np.float64]


@dataclass(frozen=True)
class Svd:
    """A ~ left @ diag(values) @ right.T with orthonormal columns, values descending.

    Attributes:
        left: float64 [rows, k]. values: float64 [k]. right: float64 [columns, k].
    """

    left: Dense
    values: Dense
    right: Dense


def randomized_svd(
    blocks: Sequence[sparse.csr_array | Dense],
    dimension: int,
    oversampling: int = 30,
    power_iterations: int = 2,
    seed: int = 0,
    threads: int = 1,
) -> Svd:
    """The `dimension` largest singular values and vectors of the matrix whose row blocks are given.

    Args:
        blocks: [b_1, n], [b_2, n], ... from top to bottom.
        oversampling: extra directions that are sampled and dropped at the end.
        power_iterations: times A A^T is applied; both sides are made orthonormal again after each product, without
            which rounding would leave only the largest directions.
        threads: blocks worked on at once.

    Returns:
        min(dimension, rows, columns) triples. Each pair of vectors has its sign fixed: the largest entry of the left
        one (by magnitude, the first of equals) is positive.

    Raises:
        CandidatesError: no block, blocks of unequal width, or a dimension below 1.
    """
    _check(blocks, dimension)
    rows, columns = sum(block.shape[0] for block in blocks), blocks[0].shape[1]
    width = min(dimension + oversampling, rows, columns)
    omega = np.random.default_rng(seed).standard_normal((columns, width))
    with ThreadPoolExecutor(max_workers=threads) as pool:
        basis, _ = tsqr(list(pool.map(multiply, blocks, [omega] * len(blocks))))
        for _ in range(power_iterations):
            back, _ = np.linalg.qr(_sum(pool.map(multiply_transposed, blocks, basis)))
            basis, _ = tsqr(list(pool.map(multiply, blocks, [back] * len(blocks))))
        # A ~ Q (A^T Q)^T and A^T Q = W R, so the SVD of the small R^T gives that of A
        back, small = np.linalg.qr(_sum(pool.map(multiply_transposed, blocks, basis)))
    inner_left, values, inner_right = np.linalg.svd(small.T)
    kept = min(dimension, width)
    left = np.concatenate([part @ inner_left[:, :kept] for part in basis])
    return _with_fixed_signs(Svd(left, values[:kept], back @ inner_right.T[:, :kept]))


def multiply(block: sparse.csr_array | Dense, right: Dense) -> Dense:
    """block [b, n] @ right [n, k]: one block's rows of A @ right."""
    return np.asarray(block @ right)


def multiply_transposed(block: sparse.csr_array | Dense, rows: Dense) -> Dense:
    """block.T [n, b] @ rows [b, k]: one block's share of A.T @ Q; the shares add up."""
    return np.asarray(block.T @ rows)


def tsqr(blocks: Sequence[Dense]) -> tuple[list[Dense], Dense]:
    """QR of a tall matrix given as row blocks: (the blocks of Q, R).

    Each block is decomposed by Householder reflections, the stacked small R factors once more, and the small Q is
    multiplied back. Nothing is inverted, so a rank-deficient (even a zero) matrix still gives orthonormal columns.
    Q has min(rows, k) columns.
    """
    factored = [np.linalg.qr(block) for block in blocks]
    inner, upper = np.linalg.qr(np.concatenate([small for _, small in factored]))
    ends = np.cumsum([len(small) for _, small in factored])[:-1]
    return [tall @ part for (tall, _), part in zip(factored, np.split(inner, ends), strict=True)], upper


def row_blocks(matrix: sparse.csr_array | Dense, rows: int) -> list[sparse.csr_array | Dense]:
    """The matrix cut into blocks of at most `rows` rows; one empty block for an empty matrix."""
    return [matrix[start : start + rows] for start in range(0, max(1, matrix.shape[0]), rows)]


def _check(blocks: Sequence[sparse.csr_array | Dense], dimension: int) -> None:
    if not blocks or len({block.shape[1] for block in blocks}) != 1:
        raise CandidatesError(f"expected row blocks of one width, found shapes {[block.shape for block in blocks]}")
    if dimension < 1:
        raise CandidatesError(f"the dimension of a decomposition must be at least 1, found {dimension}")


def _sum(parts: Iterable[Dense]) -> Dense:
    """Added one by one in block order, so that the result does not depend on which thread was first."""
    total: Dense | None = None
    for part in parts:
        total = part if total is None else total + part
    assert total is not None
    return total


def _with_fixed_signs(svd: Svd) -> Svd:
    if not len(svd.left):
        return svd
    largest = np.abs(svd.left).argmax(axis=0)
    signs = np.where(svd.left[largest, np.arange(svd.left.shape[1])] < 0, -1.0, 1.0)
    return Svd(svd.left * signs, svd.values, svd.right * signs)
