"""The report's estimates: known answers, an obvious reference, and what must hold for any numbers."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from gateway.experiment.statistics.moments import Mean, NotEstimable, RatioMoments, mean_with_interval
from gateway.experiment.statistics.normalised import NormalisedUplift, normalised_uplift
from gateway.experiment.statistics.sample_ratio import sample_ratio
from gateway.experiment.statistics.uplift import Uplift, always_valid_factor, relative_uplift


def of_sums(users: int, d: float, y: float, dd: float, yy: float, dy: float) -> RatioMoments:
    """From the raw sums of d, y, d^2, y^2 and d*y over users, as the oracles give them."""
    return RatioMoments(users, y / users, d / users, yy - y * y / users, dd - d * d / users, dy - d * y / users)


A = of_sums(20_000, d=200739, y=3902, dd=2193177, yy=5368, dy=42538)
B = of_sums(20_000, d=199426, y=4186, dd=2165210, yy=6024, dy=45533)

amounts = st.floats(0, 1e6, allow_nan=False)
users = st.lists(st.tuples(amounts, st.floats(0.5, 1e3)), max_size=40)


def of(pairs):
    return RatioMoments.of([y for y, _ in pairs], [d for _, d in pairs])


def test_the_symmetric_uplift_of_a_ratio_metric_is_the_known_one():
    found = relative_uplift(B, A, "symmetric")
    assert found.value == pytest.approx(0.0798463, abs=5e-8)
    assert found.standard_error == pytest.approx(0.0261747, abs=5e-8)
    assert (found.low, found.high) == pytest.approx((0.0285432, 0.1311494), abs=5e-8)
    assert found.p_value == pytest.approx(0.00228604, abs=1e-8)  # Welch's degrees of freedom, of the logarithm


def test_the_log_ratio_interval_is_the_known_one_and_the_default():
    found = relative_uplift(B, A)
    assert found.method == "log-ratio"
    assert (found.low, found.high) == pytest.approx((0.0297428, 0.1323876), abs=5e-8)


def test_the_always_valid_interval_is_the_known_one():
    found = relative_uplift(B, A, "symmetric")
    assert found.always_valid == pytest.approx((-0.00423, 0.16392), abs=5e-6)


@pytest.mark.parametrize("count", [10, 1000, 5000, 10**6, 10**9])
def test_the_always_valid_interval_is_wider_than_the_fixed_one_at_any_number_of_users(count):
    assert always_valid_factor(count) > norm.isf(0.025)


@pytest.mark.parametrize(
    ("counts", "shares", "p_value"),
    [
        ([1000, 1200], [0.5, 0.5], 2.0079e-5),
        ([310, 98], [0.75, 0.25], 0.647434),
        ([5000, 5200, 0], [0.5, 0.5, 0.0], 0.0477),
    ],
)
def test_the_sample_ratio_check_gives_known_p_values(counts, shares, p_value):
    found = sample_ratio(dict(enumerate(counts)), dict(enumerate(shares)))
    assert found.p_value == pytest.approx(p_value, rel=1e-3)
    assert found.alarm == (p_value < 0.001)


def test_users_in_a_population_without_a_share_are_an_alarm():
    assert sample_ratio({"A": 500, "B": 500, "C": 1}, {"A": 0.5, "B": 0.5, "C": 0.0}).alarm
    assert sample_ratio({"A": 500, "B": 500, "C": 1}, {"A": 0.5, "B": 0.5}).alarm


def test_a_population_with_a_share_but_no_users_is_an_alarm():
    assert sample_ratio({"A": 500}, {"A": 0.5, "B": 0.5}).alarm


@pytest.mark.parametrize("counts", [{}, {"A": 0, "B": 0}, {"A": 3, "B": 4}])
def test_a_split_of_a_handful_of_users_is_not_judged(counts):
    assert isinstance(sample_ratio(counts, {"A": 0.5, "B": 0.5}), NotEstimable)


def test_one_population_has_no_split_to_judge():
    assert isinstance(sample_ratio({"A": 100}, {"A": 1.0}), NotEstimable)


def test_the_variance_is_that_of_the_linearised_values():
    """Delta method: the variance of the mean of (y - r d) / mean(d)."""
    random = np.random.default_rng(3)
    d = random.integers(1, 20, 500)
    y = random.poisson(0.1 * d)
    moments, ratio = RatioMoments.of(y, d), y.sum() / d.sum()
    assert moments.ratio == pytest.approx(ratio)
    assert moments.variance == pytest.approx(np.var((y - ratio * d) / d.mean(), ddof=1) / 500)


@given(users, users)
def test_groups_add_up_to_the_moments_of_all_their_users(left, right):
    together, added = of(left + right), of(left) + of(right)
    assert added.users == together.users
    for name in ("mean_y", "mean_d"):
        assert getattr(added, name) == pytest.approx(getattr(together, name), rel=1e-9, abs=1e-9)
    scale = max([1.0, *(y for y, _ in left + right)])
    assert added.squares_y == pytest.approx(together.squares_y, rel=1e-7, abs=1e-7 * scale**2)
    assert added.products == pytest.approx(together.products, rel=1e-7, abs=1e-7 * scale * 1e3)


def test_large_values_that_differ_little_keep_their_variance():
    cents = np.array([0.01, 0.02, 0.03, 0.04])
    half = RatioMoments.of(1e9 + cents[:2]) + RatioMoments.of(1e9 + cents[2:])
    assert half.variance == pytest.approx(np.var(cents, ddof=1) / 4, rel=1e-3)


@given(users, users)
def test_an_uplift_is_a_number_inside_its_interval_or_not_estimable(treated, baseline):
    for method in ("log-ratio", "symmetric"):
        found = relative_uplift(of(treated), of(baseline), method)
        if isinstance(found, NotEstimable):
            assert found.reason
            continue
        assert found.low <= found.value <= found.high
        assert found.always_valid[0] <= found.low <= found.high <= found.always_valid[1]
        assert all(map(math.isfinite, (found.value, found.low, found.high, found.standard_error)))
        assert 0 <= found.p_value <= 1
        if method == "log-ratio":
            assert found.low >= -1


@given(users, users, users)
def test_a_normalised_uplift_is_a_number_inside_its_interval_or_not_estimable(treated, reference, baseline):
    found = normalised_uplift(of(treated), of(reference), of(baseline))
    if isinstance(found, NormalisedUplift):
        assert math.isfinite(found.low) and math.isfinite(found.high)
        slack = 1e-9 * max(1, abs(found.value))
        assert found.low - slack <= found.value <= found.high + slack


def test_outcomes_beyond_all_comparison_are_not_estimable():
    found = relative_uplift(of([(1.0, 1.0), (1.0, 2.0)]), of([(0.0, 1.0), (2.2e-308, 2.0)]))
    assert isinstance(found, NotEstimable)


@given(users, st.floats(0.01, 100))
def test_the_uplift_does_not_depend_on_the_currency(pairs, rate):
    other = [(y * 1.5 + 1, d) for y, d in pairs]
    before = relative_uplift(of(other), of(pairs))
    after = relative_uplift(of([(y * rate, d) for y, d in other]), of([(y * rate, d) for y, d in pairs]))
    if isinstance(before, Uplift) and isinstance(after, Uplift):
        assert after.value == pytest.approx(before.value, rel=1e-6, abs=1e-9)
        assert after.p_value == pytest.approx(before.p_value, rel=1e-4, abs=1e-9)


@pytest.mark.parametrize(
    ("treated", "baseline", "reason"),
    [
        ([], [1.0, 2.0], "no users in the treated population"),
        ([1.0, 2.0], [], "no users in the baseline population"),
        ([1.0], [1.0, 2.0, 3.0], "one user in the treated population"),
        ([1.0, 2.0], [0.0, 0.0, 0.0], "no outcome in the baseline population"),
        ([0.0, 0.0], [1.0, 2.0, 1.5], "no outcome in the treated population"),
        ([1.0, 1.0], [1.0, 1.0], "users do not differ"),
        ([1.0, 2.0], [0.0] * 99 + [5.0], "too few outcomes in the baseline population"),
        ([1e-200, 2e-200], [1e-200, 0.0], "users do not differ"),  # their variance is below the smallest float
        ([1e300, 2e300], [1.0, 2.0, 1.5], "values too large to add up in the treated population"),
    ],
)
def test_what_cannot_be_estimated_is_said_with_its_reason(treated, baseline, reason):
    found = relative_uplift(RatioMoments.of(treated), RatioMoments.of(baseline))
    assert found == NotEstimable(reason)
    assert str(found) == f"not estimable yet: {reason}"


def test_a_mean_of_one_user_has_no_interval():
    found = mean_with_interval(RatioMoments.of([3.0]))
    assert found == Mean(3.0, NotEstimable("one user"))
    assert mean_with_interval(RatioMoments()) == NotEstimable("no users")


def test_the_normalised_interval_holds_exactly_the_ratios_that_fieller_does_not_reject():
    random = np.random.default_rng(5)
    a, b, c = (RatioMoments.of(times * random.lognormal(0, 1, 20_000)) for times in (1.0, 1.15, 1.3))
    found = normalised_uplift(c, b, a)
    z2 = norm.isf(0.025) ** 2

    def kept(ratio):
        difference = (c.ratio - a.ratio) - ratio * (b.ratio - a.ratio)
        variance = (c.variance + a.variance) - 2 * ratio * a.variance + ratio**2 * (b.variance + a.variance)
        return difference**2 <= z2 * variance

    grid = np.linspace(found.low - 2, found.high + 2, 4001)
    inside = (grid > found.low) & (grid < found.high)
    assert [kept(one) for one in grid] == inside.tolist()
    assert not found.base_negative


def test_a_normalised_uplift_is_not_estimable_while_the_reference_may_equal_the_baseline():
    random = np.random.default_rng(6)
    a, b, c = (RatioMoments.of(times * random.lognormal(0, 1, 500)) for times in (1.0, 1.0, 1.5))
    assert isinstance(normalised_uplift(c, b, a), NotEstimable)


def test_a_reference_below_the_baseline_is_flagged():
    random = np.random.default_rng(7)
    a, b, c = (RatioMoments.of(times * random.lognormal(0, 1, 20_000)) for times in (1.0, 0.7, 1.3))
    assert normalised_uplift(c, b, a).base_negative


@pytest.mark.slow
def test_intervals_hold_the_truth_in_95_of_100_tests():
    """1,000 tests of skewed, rare outcomes: within three binomial standard errors (2.1 %) of 95 %."""
    random, held, normalised_held = np.random.default_rng(11), 0, 0
    for _ in range(1000):
        rates = (0.05, 0.06)
        a, b = (RatioMoments.of(random.poisson(rate * random.gamma(0.8, 1.25, 8000))) for rate in rates)
        found = relative_uplift(b, a)
        held += found.low <= 0.2 <= found.high
        d = [RatioMoments.of(times * random.lognormal(0, 1, 8000)) for times in (1.0, 1.2, 1.4)]
        ratio = normalised_uplift(d[2], d[1], d[0])
        normalised_held += ratio.low <= 2 <= ratio.high
    assert abs(held / 1000 - 0.95) < 0.021
    assert abs(normalised_held / 1000 - 0.95) < 0.021


def test_values_of_another_shape_are_refused():
    with pytest.raises(ValueError, match="one y and one d per user"):
        RatioMoments.of([1.0, 2.0], [1.0])
