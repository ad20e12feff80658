"""Means and standard errors agree with scipy's."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
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
