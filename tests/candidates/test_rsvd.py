"""Randomised SVD over blocks against numpy's SVD."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from candidates.errors import CandidatesError
from candidates.matrices.rsvd import randomized_svd, row_blocks, tsqr


def low_rank(rows: int, columns: int, rank: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.standard_normal((rows, rank)) @ rng.standard_normal((rank, columns))


def assert_orthonormal(columns: np.ndarray) -> None:
    np.testing.assert_allclose(columns.T @ columns, np.eye(columns.shape[1]), atol=1e-9)


@settings(deadline=None, max_examples=60)
@given(
    rows=st.integers(1, 40),
    columns=st.integers(1, 30),
    rank=st.integers(0, 12),
    dimension=st.integers(1, 20),
    block=st.integers(1, 41),
    seed=st.integers(0, 10**6),
)
def test_a_matrix_of_low_rank_is_decomposed_exactly(
    rows: int, columns: int, rank: int, dimension: int, block: int, seed: int
) -> None:
    """Also where the rank is 0, the dimension exceeds the rank, and blocks have fewer rows than the dimension."""
    matrix = low_rank(rows, columns, rank, seed)
    svd = randomized_svd(row_blocks(matrix, block), dimension, oversampling=15, seed=seed)
    expected = np.linalg.svd(matrix, compute_uv=False)
    kept = min(dimension, rows, columns)
    assert svd.values.shape == (kept,)
    np.testing.assert_allclose(svd.values, expected[:kept], atol=1e-8 * max(1, rows * columns))
    assert_orthonormal(svd.left)
    assert_orthonormal(svd.right)
    best = np.linalg.norm(expected[kept:])
    assert np.linalg.norm(matrix - svd.left * svd.values @ svd.right.T) <= best + 1e-7 * max(1, rows * columns)


def test_power_iterations_find_the_leading_space_of_a_slowly_falling_spectrum() -> None:
    rng = np.random.default_rng(0)
    left, _ = np.linalg.qr(rng.standard_normal((300, 200)))
    right, _ = np.linalg.qr(rng.standard_normal((200, 200)))
    values = 1 / np.sqrt(np.arange(1, 201))
    matrix = left * values @ right.T
    errors = [
        np.abs(randomized_svd(row_blocks(matrix, 64), 20, 10, iterations, seed=1).values - values[:20]).max()
        for iterations in (0, 2, 8)
    ]
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 2e-3


def test_sparse_blocks_and_threads_give_what_one_dense_block_gives() -> None:
    matrix = sparse.random_array((90, 70), density=0.1, rng=np.random.default_rng(3)).tocsr()
    one = randomized_svd([matrix.toarray()], 12, seed=5)
    many = randomized_svd(row_blocks(matrix, 17), 12, seed=5, threads=3)
    np.testing.assert_allclose(many.values, one.values, rtol=1e-9)
    np.testing.assert_allclose(many.left, one.left, atol=1e-6)


def test_signs_are_fixed() -> None:
    svd = randomized_svd([low_rank(30, 20, 5, 2)], 5, seed=9)
    largest = np.abs(svd.left).argmax(axis=0)
    assert (svd.left[largest, np.arange(5)] > 0).all()
    other = randomized_svd([low_rank(30, 20, 5, 2)], 5, seed=10)
    np.testing.assert_allclose(svd.left, other.left, atol=1e-8)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=6), st.integers(1, 6), st.integers(0, 6), st.integers(0, 10**6))
def test_tsqr_keeps_orthonormal_columns_whatever_the_rank(heights: list[int], width: int, rank: int, seed: int) -> None:
    matrix = low_rank(sum(heights), width, min(rank, width), seed)
    blocks = np.split(matrix, np.cumsum(heights)[:-1])
    parts, upper = tsqr(blocks)
    tall = np.concatenate(parts)
    assert_orthonormal(tall)
    np.testing.assert_allclose(tall @ upper, matrix, atol=1e-9 * max(1.0, float(np.abs(matrix).max())))
    np.testing.assert_allclose(upper, np.triu(upper))


def test_unequal_blocks_and_a_dimension_of_zero_are_refused() -> None:
    with pytest.raises(CandidatesError, match="one width"):
        randomized_svd([np.ones((2, 3)), np.ones((2, 4))], 1)
    with pytest.raises(CandidatesError, match="at least 1"):
        randomized_svd([np.ones((2, 3))], 0)
