"""CUPED, several comparisons, power, and other tools' published answers."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from gateway.experiment.statistics.cuped import cuped
from gateway.experiment.statistics.moments import NotEstimable, RatioMoments
from gateway.experiment.statistics.multiple import benjamini_hochberg, holm
from gateway.experiment.statistics.power import detectable_uplift, plan
from gateway.experiment.statistics.sample_ratio import sample_ratio
from gateway.experiment.statistics.uplift import absolute_difference, always_valid_factor, relative_uplift


def of_sums(users, total, squares):
    return RatioMoments(users, total / users, 1.0, squares - total * total / users)


A, B = of_sums(3407, 1396.87, 52377.9767), of_sums(3461, 2422.7, 134698.29)


def proportion(users, hits):
    """With the variance p (1 - p) / n, as GrowthBook has it for proportions."""
    rate = hits / users
    return RatioMoments(users, rate, 1.0, rate * (1 - rate) * (users - 1))


def test_growthbooks_uplifts_are_found():
    """Its z interval is [-.03526, 1.44989]; with Welch's t, as here, [-.03524, 1.44987]."""
    found = relative_uplift(B, A, "symmetric")
    assert (found.value, found.low, found.high) == pytest.approx((0.70732, -0.03524, 1.44987), abs=5e-6)
    assert found.p_value == pytest.approx(0.06191, abs=1e-5)
    absolute = absolute_difference(B, A)
    assert (absolute.value, absolute.low, absolute.high) == pytest.approx((0.29, 0.04538, 0.53462), abs=5e-6)
    assert absolute.p_value == pytest.approx(0.02016, abs=5e-6)


def test_growthbooks_sequential_intervals_are_found():
    found = relative_uplift(B, of_sums(3000, 1396.87, 52377.9767), "symmetric", tuned_for=1000)
    assert (found.value, *found.always_valid) == pytest.approx((0.50336, -0.55844, 1.56516), abs=5e-6)
    found = relative_uplift(proportion(3461, 2422), proportion(3000, 1396), "symmetric")
    assert (found.value, *found.always_valid) == pytest.approx((0.50386, 0.40098, 0.60675), abs=5e-6)


def test_growthbooks_small_proportions_are_found():
    found = relative_uplift(proportion(30, 16), proportion(28, 14), "symmetric")
    assert (found.value, found.low, found.high) == pytest.approx((0.06667, -0.47767, 0.61101), abs=2e-3)
    assert found.p_value == pytest.approx(0.80707, abs=2e-3)


def test_growthbooks_sample_ratio_is_found():
    assert sample_ratio({"A": 9463, "B": 7681}, {"A": 0.5, "B": 0.5}).p_value < 2.3e-16


def test_cuped_takes_out_what_the_covariate_explains_and_leaves_the_effect():
    random = np.random.default_rng(1)
    before = {name: random.normal(5, 2, 4000) for name in "AB"}
    y = {name: 3 * before[name] + random.normal(shift, 1, 4000) for name, shift in (("A", 10.0), ("B", 10.5))}
    found = cuped(y, before)
    assert found.explained == pytest.approx(36 / 37, abs=0.005)
    raw = absolute_difference(RatioMoments.of(y["B"]), RatioMoments.of(y["A"]))
    adjusted = absolute_difference(found.moments["B"], found.moments["A"])
    assert adjusted.low < 0.5 < adjusted.high
    assert adjusted.high - adjusted.low < 0.2 * (raw.high - raw.low)


def test_cuped_is_the_regression_on_the_covariate_and_the_population():
    """The difference adjusted by CUPED is the population's coefficient of the least squares, to order 1 / n."""
    random = np.random.default_rng(2)
    x = random.gamma(2, 1, (2000, 2))
    treated = random.random(2000) < 0.4
    y = x @ [1.0, -0.5] + 0.3 * treated + random.normal(0, 1, 2000)
    found = cuped({"B": y[treated], "A": y[~treated]}, {"B": x[treated], "A": x[~treated]})
    design = np.column_stack([np.ones(2000), treated, x])
    coefficient = np.linalg.lstsq(design, y, rcond=None)[0][1]
    assert found.moments["B"].ratio - found.moments["A"].ratio == pytest.approx(coefficient, rel=1e-9)


def test_cuped_of_a_ratio_is_that_of_its_linearised_values():
    random = np.random.default_rng(3)
    d = {name: random.integers(1, 9, 3000).astype(float) for name in "AB"}
    x = {name: d[name] + random.normal(0, 0.5, 3000) for name in "AB"}
    y = {name: random.poisson(0.2 * d[name]).astype(float) for name in "AB"}
    found = cuped(y, x, d)
    for name in "AB":
        raw = RatioMoments.of(y[name], d[name])
        assert found.moments[name].variance <= raw.variance * 1.001
        assert found.moments[name].ratio == pytest.approx(raw.ratio, abs=3 * math.sqrt(raw.variance))


def test_a_covariate_that_says_nothing_changes_nothing():
    y = {"A": np.arange(9.0), "B": np.arange(9.0) * 2}
    found = cuped(y, {name: np.ones(9) for name in y})
    assert found.explained == pytest.approx(0)
    for name in y:
        assert found.moments[name].ratio == pytest.approx(y[name].mean())


p_lists = st.lists(st.floats(0, 1), min_size=1, max_size=12)


@given(p_lists)
def test_adjusted_p_values_are_those_of_the_definitions(p_values):
    count, order = len(p_values), np.argsort(p_values, kind="stable")
    ordered = np.array(p_values)[order]
    by_holm = [max(min(1.0, (count - k) * ordered[k]) for k in range(rank + 1)) for rank in range(count)]
    by_hochberg = [min(min(1.0, count / (k + 1) * ordered[k]) for k in range(rank, count)) for rank in range(count)]
    assert np.array(holm(p_values))[order] == pytest.approx(by_holm)
    assert np.array(benjamini_hochberg(p_values))[order] == pytest.approx(by_hochberg)


def test_the_planned_users_see_the_uplift_as_often_as_planned():
    """400 tests at the planned size: 80 % find it, within three standard errors."""
    random = np.random.default_rng(4)
    wanted = plan(RatioMoments.of(random.gamma(0.5, 1, 100_000)), 0.15)
    half, found = wanted.users // 2, 0
    for _ in range(400):
        treated, baseline = (RatioMoments.of(times * random.gamma(0.5, 1, half)) for times in (1.15, 1.0))
        found += relative_uplift(treated, baseline).low > 0
    assert found / 400 == pytest.approx(0.8, abs=0.06)
    assert wanted.sequential_users > wanted.users


def test_the_plan_and_the_detectable_uplift_are_each_others_inverse():
    group = RatioMoments.of(np.random.default_rng(5).gamma(1, 1, 1000))
    wanted = plan(group, 0.07, (0.3, 0.5), 0.9)
    assert detectable_uplift(group, wanted.users, (0.3, 0.5), 0.9) == pytest.approx(0.07, rel=1e-3)


def test_the_sequential_plan_is_of_the_interval_that_will_be_looked_at():
    group = RatioMoments.of(np.random.default_rng(6).gamma(1, 1, 5000))
    users = plan(group, 0.1).sequential_users
    errors = always_valid_factor(users, users) + norm.isf(0.2)
    spread = group.users * group.relative_error**2 * 4
    assert users == pytest.approx(spread * errors**2 / math.log(1.1) ** 2, rel=1e-3)


@pytest.mark.parametrize("uplift", [0.0, -1.0, 1e-9])
def test_what_no_number_of_users_shows_is_said(uplift):
    assert isinstance(plan(RatioMoments.of([1.0, 2.0, 3.0]), uplift), NotEstimable)
    assert isinstance(detectable_uplift(RatioMoments(), 100), NotEstimable)
