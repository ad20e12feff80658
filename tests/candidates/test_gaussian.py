"""Normal numbers by counter: what randomised algorithms need of them, and two engines to share them."""

import numpy as np
import pytest
from scipy import stats

from candidates.matrices.gaussian import gaussian_rows


def test_rows_are_the_same_however_they_are_asked_for() -> None:
    whole = gaussian_rows(np.arange(50_000), 30, seed=4)
    chosen = np.random.default_rng(0).permutation(50_000)[:1000]
    np.testing.assert_array_equal(gaussian_rows(chosen, 30, seed=4), whole[chosen])
    np.testing.assert_array_equal(gaussian_rows(chosen, 7, seed=4), whole[chosen, :7])
    assert gaussian_rows(np.array([2**40]), 3, seed=4).shape == (1, 3)
    assert gaussian_rows(np.empty(0, np.int64), 3, seed=4).shape == (0, 3)


@pytest.mark.parametrize("seed", [0, 1, 2**64 - 1])
def test_numbers_are_normal_and_independent_by_row_column_and_seed(seed: int) -> None:
    found = gaussian_rows(np.arange(4000), 50, seed)
    assert stats.kstest(found.ravel(), "norm").pvalue > 1e-3
    cosines = np.corrcoef(found.T) - np.eye(50)
    assert np.abs(cosines).max() < 5.5 / np.sqrt(4000)  # the largest of 1,225 correlations of independent columns
    assert np.abs(np.corrcoef(found[:50]) - np.eye(50)).max() < 5.5 / np.sqrt(50)
    other = gaussian_rows(np.arange(4000), 50, seed + 1)
    assert abs(np.corrcoef(found.ravel(), other.ravel())[0, 1]) < 5 / np.sqrt(found.size)


def test_a_matrix_too_wide_for_its_counters_is_refused() -> None:
    with pytest.raises(ValueError, match="65536 wide"):
        gaussian_rows(np.arange(2), 2**16 + 1, 0)
