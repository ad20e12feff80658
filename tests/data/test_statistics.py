"""Means and standard errors agree with scipy's."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from data.statistics import Mean, standard_error

_VALUES = st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=50)


@settings(deadline=None)
@given(_VALUES)
def test_the_standard_error_is_scipys(values: list[float]) -> None:
    assert standard_error(values) == pytest.approx(stats.sem(values), rel=1e-9, abs=1e-9)
    mean = Mean.of(values)
    assert (mean.value, mean.count) == (pytest.approx(np.mean(values)), len(values))


@settings(deadline=None)
@given(_VALUES)
def test_a_paired_difference_is_the_mean_of_the_differences(values: list[float]) -> None:
    others = values[::-1]
    found = Mean.of_difference(values, others)
    assert found == Mean.of([one - other for one, other in zip(values, others, strict=True)])


def test_fewer_than_two_values_have_no_error() -> None:
    assert math.isnan(standard_error([1.0])) and math.isnan(standard_error([]))
    assert Mean.of([2.0]).value == 2.0 and math.isnan(Mean.of([]).value)
    assert f"{Mean.of([2.0]):.2f}" == "2.00" and f"{Mean.of([1.0, 3.0]):+.2f}" == "+2.00 ± 1.00"


@settings(deadline=None)
@given(arrays(np.float64, st.integers(4, 30), elements=st.floats(-5, 5)), st.integers(2, 4))
def test_the_error_over_groups_is_that_of_a_ratio_of_sums_over_them(values: np.ndarray, count: int) -> None:
    group = np.arange(len(values)) % count
    totals = [values[group == one].sum() for one in range(count)]
    sizes = [int((group == one).sum()) for one in range(count)]
    mean = sum(totals) / sum(sizes)
    residuals = [total - mean * size for total, size in zip(totals, sizes, strict=True)]
    variance = sum(one * one for one in residuals) / (count - 1) * count / sum(sizes) ** 2
    found = Mean.over_groups(values, group)
    assert found.count == count
    assert math.isclose(found.value, mean, abs_tol=1e-12)
    assert math.isclose(found.error, math.sqrt(variance), abs_tol=1e-9)


def test_the_error_over_one_group_is_not_known() -> None:
    assert math.isnan(Mean.over_groups([1.0, 2.0], [7, 7]).error)
