"""Right singular vectors by subspace iteration, against a dense decomposition."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from candidates.matrices.subspace import right_singular_vectors


def sparse_matrix(rows: int, columns: int, rank: int, seed: int) -> sparse.csr_array:
    """Of a falling spectrum, and mostly zeros left where both factors are."""
    rng = np.random.default_rng(seed)
    left = rng.standard_normal((rows, rank)) * (rng.random((rows, rank)) < 0.5)
    right = rng.standard_normal((rank, columns)) * (rng.random((rank, columns)) < 0.5)
    return sparse.csr_array(left * 0.7 ** np.arange(rank) @ right)


@settings(deadline=None, max_examples=40)
@given(
    rows=st.integers(1, 30),
    columns=st.integers(1, 30),
    rank=st.integers(0, 12),
    dimension=st.integers(1, 8),
    threads=st.integers(1, 3),
    seed=st.integers(0, 999),
)
def test_values_and_vectors_are_those_of_a_dense_decomposition(rows, columns, rank, dimension, threads, seed):
    matrix = sparse_matrix(rows, columns, rank, seed)
    values, vectors = right_singular_vectors(matrix, dimension, threads=threads, seed=seed)
    k = min(dimension, rows, columns)
    exact = np.linalg.svd(matrix.toarray(), compute_uv=False)[:k]
    assert (values.shape, vectors.shape) == ((k,), (columns, k))
    np.testing.assert_allclose(values, exact, atol=1e-6 * max(1, exact[0]))
    present = values > 0
    np.testing.assert_allclose(vectors[:, present].T @ vectors[:, present], np.eye(present.sum()), atol=1e-7)
    assert not vectors[:, ~present].any()
    np.testing.assert_allclose(np.linalg.norm(matrix @ vectors, axis=0), values, atol=1e-6 * max(1, exact[0]))


def test_a_start_that_is_nearly_right_needs_one_iteration():
    matrix = sparse.csr_array(np.random.default_rng(0).random((300, 200)) * np.geomspace(1, 0.1, 200))
    _, exact = right_singular_vectors(matrix, 20, iterations=30)
    nearly = exact + 0.01 * np.random.default_rng(1).standard_normal(exact.shape)

    def overlap(start):
        found = right_singular_vectors(matrix, 20, oversampling=0, iterations=1, start=start)[1]
        return np.linalg.norm(found.T @ exact) ** 2 / 20

    assert overlap(nearly) > 0.99 > 0.9 > overlap(None)


@pytest.mark.parametrize("threads", [1, 3])
def test_single_precision_is_exact_to_what_a_gram_matrix_leaves(threads):
    matrix = sparse_matrix(200, 100, 30, 3)
    exact = np.linalg.svd(matrix.toarray(), compute_uv=False)[:10]
    values, vectors = right_singular_vectors(matrix.astype(np.float32), 10, threads=threads)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(values, exact, rtol=1e-4)
