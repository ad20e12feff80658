"""Randomised singular value decomposition over blocks of rows.

Every step is either a function of one block or a sum of small matrices over blocks, so the same functions can run where
the blocks lie; `distributed/rsvd.py` does so on Spark, with the same random matrix. Algorithm: Halko, Martinsson and
Tropp, "Finding structure with randomness" (2011), 4.4 and 5.1.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from threadpoolctl import threadpool_limits

from candidates.errors import CandidatesError
from candidates.matrices.gaussian import gaussian_rows

Dense: TypeAlias = NDArray[np.float64]
Block: TypeAlias = sparse.csr_array | Dense
Mapped: TypeAlias = Callable[..., Iterator[Dense]]
"""The built-in map, or one that works on several blocks at once and keeps their order."""


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
    blocks: Sequence[Block],
    dimension: int,
    oversampling: int = 30,
    power_iterations: int = 2,
    seed: int = 0,
    threads: int = 1,
    precision: type[np.floating] = np.float64,
) -> Svd:
    """The `dimension` largest singular values and vectors of the matrix whose row blocks are given.

    Args:
        blocks: [b_1, n], [b_2, n], ... from top to bottom.
        oversampling: extra directions that are sampled and dropped at the end.
        power_iterations: times A A^T is applied; both sides are made orthonormal again after each product, without
            which rounding would leave only the largest directions.
        threads: blocks worked on at once; another number gives the same result to rounding. Memory beside the
            blocks: about (2 + threads) (rows + columns) (dimension + oversampling) numbers.
        precision: of all steps; np.float32 takes half the memory and leaves values exact to about 1e-6 of the largest.

    Returns:
        min(dimension, rows, columns) triples. Each pair of vectors has its sign fixed: the largest entry of the left
        one (by magnitude, the first of equals) is positive.

    Raises:
        CandidatesError: no block, blocks of unequal width, or a dimension below 1.
    """
    _check(blocks, dimension)
    blocks = [block.astype(precision) for block in blocks]  # once, not in every product
    rows, columns = sum(block.shape[0] for block in blocks), blocks[0].shape[1]
    width = min(dimension + oversampling, rows, columns)
    with mapping_over(threads) as mapped:
        parts = np.array_split(np.arange(columns), threads)
        omega = np.concatenate(list(mapped(gaussian_rows, parts, [width] * threads, [seed] * threads))).astype(
            precision, copy=False
        )
        basis, _ = tsqr(mapped(multiply, blocks, [omega] * len(blocks)), mapped)
        del omega
        for _ in range(power_iterations):
            back, _ = _orthonormal(_transposed_product(blocks, basis, threads, mapped), threads, mapped)
            basis, _ = tsqr(mapped(multiply, blocks, [back] * len(blocks)), mapped)
        # A ~ Q (A^T Q)^T and A^T Q = W R, so the SVD of the small R^T gives that of A
        back, small = _orthonormal(_transposed_product(blocks, basis, threads, mapped), threads, mapped)
    inner_left, values, inner_right = np.linalg.svd(small.T)
    kept = min(dimension, width)
    left = np.concatenate([part @ inner_left[:, :kept] for part in basis])
    return _with_fixed_signs(Svd(left, values[:kept], back @ inner_right.T[:, :kept]))


def multiply(block: Block, right: Dense) -> Dense:
    """block [b, n] @ right [n, k]: one block's rows of A @ right."""
    return np.asarray(block @ right)


def multiply_transposed(block: Block, rows: Dense) -> Dense:
    """block.T [n, b] @ rows [b, k]: one block's share of A.T @ Q; the shares add up."""
    return np.asarray(block.T @ rows)


def tsqr(blocks: Iterable[Dense], mapped: Mapped = map) -> tuple[list[Dense], Dense]:
    """QR of a tall matrix given as row blocks: (the blocks of Q, R).

    Each block is decomposed by Householder reflections, the stacked small R factors once more, and the small Q is
    multiplied back. Nothing is inverted, so a rank-deficient (even a zero) matrix still gives orthonormal columns.
    Q has min(rows, k) columns.
    """
    factored = list(mapped(np.linalg.qr, blocks))
    inner, upper = np.linalg.qr(np.concatenate([small for _, small in factored]))
    ends = np.cumsum([len(small) for _, small in factored])[:-1]
    return list(mapped(np.matmul, [tall for tall, _ in factored], np.split(inner, ends))), upper


def row_blocks(matrix: Block, rows: int) -> list[Block]:
    """The matrix cut into blocks of at most `rows` rows; one empty block for an empty matrix."""
    return [matrix[start : start + rows] for start in range(0, max(1, matrix.shape[0]), rows)]


def _check(blocks: Sequence[Block], dimension: int) -> None:
    if not blocks or len({block.shape[1] for block in blocks}) != 1:
        raise CandidatesError(f"expected row blocks of one width, found shapes {[block.shape for block in blocks]}")
    if dimension < 1:
        raise CandidatesError(f"the dimension of a decomposition must be at least 1, found {dimension}")


def _transposed_product(blocks: Sequence[Block], basis: Sequence[Dense], threads: int, mapped: Mapped) -> Dense:
    """A.T @ Q. Each thread adds up the shares of its own blocks, so that no more than `threads` shares are held."""
    hands = min(threads, len(blocks))
    sums = mapped(
        _shares, [blocks[hand::hands] for hand in range(hands)], [basis[hand::hands] for hand in range(hands)]
    )
    total = next(sums)
    for share in sums:
        total += share
    return total


def _shares(blocks: Sequence[Block], basis: Sequence[Dense]) -> Dense:
    total = multiply_transposed(blocks[0], basis[0])
    for block, rows in zip(blocks[1:], basis[1:], strict=True):
        total += multiply_transposed(block, rows)
    return total


def _orthonormal(tall: Dense, threads: int, mapped: Mapped) -> tuple[Dense, Dense]:
    """QR of one matrix, its rows divided among the threads."""
    parts, upper = tsqr(np.array_split(tall, min(threads, max(1, len(tall) // tall.shape[1]))), mapped)
    return np.concatenate(parts), upper


@contextmanager
def mapping_over(threads: int) -> Iterator[Mapped]:
    """A map over `threads` threads. LAPACK keeps to one in each: more would only wait for each other."""
    with ThreadPoolExecutor(max_workers=threads) as pool, threadpool_limits(1):
        yield pool.map


def signs_of(vectors: NDArray[np.floating]) -> NDArray[np.floating]:
    """[k], of the vectors [n, k]: -1 for those whose largest entry (by magnitude, the first of equals) is negative."""
    largest = np.abs(vectors).argmax(axis=0)
    return np.where(vectors[largest, np.arange(vectors.shape[1])] < 0, -1, 1).astype(vectors.dtype)


def _with_fixed_signs(svd: Svd) -> Svd:
    if not len(svd.left):
        return svd
    signs = signs_of(svd.left)
    return Svd(svd.left * signs, svd.values, svd.right * signs)
