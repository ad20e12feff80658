"""PMI against a dense, obvious reference."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from candidates.errors import CandidatesError
from candidates.matrices.pmi import ItemTimelines, positive_pmi


def dense_reference(counts: np.ndarray, power: float) -> np.ndarray:
    """log(p(i, j) / (p(i) p_a(j))) entry by entry, with the smoothed distribution summing to 1."""
    counts = counts.astype(float).copy()
    np.fill_diagonal(counts, 0)
    total = counts.sum()
    marginal = counts.sum(axis=1)
    smoothed = np.array([0.0 if n == 0 else n**power for n in marginal])
    found = np.zeros_like(counts)
    for i in range(len(counts)):
        for j in range(len(counts)):
            if counts[i, j] > 0:
                p_ij, p_i, p_j = counts[i, j] / total, marginal[i] / total, smoothed[j] / smoothed.sum()
                found[i, j] = max(0.0, np.log(p_ij / (p_i * p_j)))
    return found


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 9), st.integers(0, 10**6), st.sampled_from([0.5, 0.75, 1.0]))
def test_positive_pmi_is_that_of_the_dense_formula(size: int, seed: int, power: float) -> None:
    half = np.triu(np.random.default_rng(seed).poisson(0.8, (size, size)), 1)
    counts = half + half.T
    found = positive_pmi(sparse.csr_array(counts), power)
    np.testing.assert_allclose(found.toarray(), dense_reference(counts, power), atol=1e-5)


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 12), st.integers(2, 9), st.integers(0, 10**6), st.sampled_from([0.5, 0.75, 1.0]))
def test_the_papers_pmi_is_of_shares_of_timelines(users: int, items: int, seed: int, power: float) -> None:
    """log(p(i, j) / (p(i) p(j)^a)): p(i, j) of the timelines that hold both, p(i) of those that hold i."""
    taken = np.random.default_rng(seed).random((users, items)) < 0.5
    expected = np.zeros((items, items))
    for i in range(items):
        for j in range(items):
            both = (taken[:, i] & taken[:, j]).mean()
            if i != j and both:
                expected[i, j] = max(0.0, np.log(both / (taken[:, i].mean() * taken[:, j].mean() ** power)))
    counts = sparse.csr_array(taken.T.astype(float) @ taken.astype(float))
    found = positive_pmi(counts, power, ItemTimelines(taken.sum(axis=0).astype(float), users))
    np.testing.assert_allclose(found.toarray(), expected, atol=1e-5)


def test_the_diagonal_does_not_matter() -> None:
    counts = np.array([[9, 2, 0], [2, 9, 1], [0, 1, 9]])
    without = counts - np.diag(np.diag(counts))
    assert (positive_pmi(sparse.csr_array(counts)) != positive_pmi(sparse.csr_array(without))).nnz == 0


def test_no_pair_gives_an_empty_matrix() -> None:
    assert positive_pmi(sparse.csr_array((4, 4))).nnz == 0


def test_without_smoothing_the_matrix_is_symmetric() -> None:
    half = np.triu(np.random.default_rng(1).poisson(1.0, (20, 20)), 1)
    found = positive_pmi(sparse.csr_array(half + half.T), 1.0).toarray()
    np.testing.assert_allclose(found, found.T, atol=1e-6)


@pytest.mark.parametrize("counts", [np.ones((2, 3)), np.array([[0, -1], [-1, 0]])])
def test_what_is_not_a_count_matrix_is_refused(counts: np.ndarray) -> None:
    with pytest.raises(CandidatesError, match="co-occurrence"):
        positive_pmi(sparse.csr_array(counts))
