"""Off-policy estimators: the Open Bandit table, exact expectations by enumeration, and dense references."""

from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import genpareto

from gateway.experiment.statistics.moments import NotEstimable, RatioMoments
from gateway.off_policy import single, slates
from gateway.off_policy.diagnostics import clipping_curve, diagnose, pareto_k
from gateway.off_policy.estimates import mean_by_user
from gateway.off_policy.evaluation import evaluate_choices, evaluate_slates
from gateway.off_policy.single import Choices
from gateway.off_policy.slates import Slates

ROWS = 10_000


def two_values(count, total, squares, many=1):
    """`count` numbers of two values with this sum and this sum of squares: `many` large ones, the others alike."""
    mean, spread = total / count, squares / count - (total / count) ** 2
    large = mean + np.sqrt(max(0.0, spread) * (count - many) / many)
    return np.concatenate([np.full(many, large), np.full(count - many, (total - many * large) / (count - many))])


def open_bandit_rows(clicks, value, error, normalised, effective, greatest):
    """Rows of the Open Bandit log's form (10,000 displays of one item each, a click or none) with these statistics."""
    clicked = two_values(clicks, value * ROWS, (ROWS - 1) * ROWS * error**2 + ROWS * value**2)
    total = value * ROWS / normalised
    squares = total**2 / effective
    rest = ROWS - clicks - 1
    others = two_values(
        rest,
        total - clicked.sum() - greatest,
        max(squares - clicked @ clicked - greatest**2, (total - clicked.sum() - greatest) ** 2 / rest),
        many=50,
    )
    weight = np.concatenate([clicked, [greatest], others])
    reward = (np.arange(ROWS) < clicks).astype(float)
    return Choices(reward, weight, np.zeros(ROWS), np.zeros(ROWS), np.arange(ROWS))


def test_the_men_of_the_open_bandit_log_are_estimable_with_its_figures():
    rows = open_bandit_rows(69, 0.003009, 0.000774, 0.003189, 655.7, 178.0)
    assert (rows.weight >= 0).all()
    found = evaluate_choices("uniform", "click", rows)
    by = found.estimates
    assert f"{by['IPW'].value:.6f} {by['IPW'].standard_error:.6f}" == "0.003009 0.000774"
    assert f"{by['SNIPW'].value:.6f} {by['SNIPW'].standard_error:.6f}" == "0.003189 0.000828"
    assert f"{found.diagnostics.effective:.1f} {found.diagnostics.greatest:.0f}" == "655.7 178"
    assert by["IPW"].low < 0.0046 < by["IPW"].high  # what the uniform log itself had


def test_the_women_of_the_open_bandit_log_are_not_estimable():
    rows = open_bandit_rows(46, 0.007438, 0.0041, 0.002373, 2.08, 21_739.0)
    weighted = RatioMoments.of(rows.weight * rows.reward)
    assert f"{weighted.ratio:.6f} {weighted.variance**0.5:.4f}" == "0.007438 0.0041"
    assert f"{weighted.ratio / rows.weight.mean():.6f}" == "0.002373"
    found = evaluate_choices("uniform", "click", rows)
    assert f"{found.diagnostics.effective:.1f} {found.diagnostics.greatest:,.0f}" == "2.1 21,739"
    assert isinstance(found.estimate, NotEstimable) and "worth 2.1 displays" in found.estimate.reason
    assert found.table().num_rows == 1  # what the log itself brought


ITEMS, PLACES = 4, 3
BANNERS = list(permutations(range(ITEMS), PLACES))


def plackett_luce(merit):
    """conditional [24, 3] of each banner's places."""
    left = np.array([[merit[list(set(range(ITEMS)) - set(one[:k]))].sum() for k in range(PLACES)] for one in BANNERS])
    return merit[np.array(BANNERS)] / left


def expected_q(banners, merit, q):
    """The other policy's mean q for each place given the places before it."""
    found = np.empty((len(banners), PLACES))
    for row, banner in enumerate(banners):
        for place in range(PLACES):
            left = [item for item in range(ITEMS) if item not in banner[:place]]
            found[row, place] = (merit[left] / merit[left].sum()) @ q[left, place]
    return found


def every_banner(cascade, copies=40):
    """Slates whose empirical means are exact expectations under the log's policy, and the truth by enumeration."""
    random = np.random.default_rng(4)
    own, other = random.dirichlet(np.ones(ITEMS) * 3), random.dirichlet(np.ones(ITEMS) * 3)
    worth, q = random.random((ITEMS, PLACES)), random.random((ITEMS, PLACES))
    banners = np.array(BANNERS)
    reward = worth[banners, np.arange(PLACES)]
    if cascade:  # a place earns less under one of worth
        reward = reward * np.concatenate([np.ones((len(banners), 1)), 1 - 0.5 * reward[:, :-1].cumsum(axis=1)], axis=1)
    logging, target = plackett_luce(own), plackett_luce(other)
    p_b, p_e = logging.prod(axis=1), target.prod(axis=1)
    place_of = banners[:, :, None] == np.arange(ITEMS)
    marginals = [np.einsum("b,bki->ki", p, place_of.astype(float)) for p in (p_e, p_b)]
    shares = np.round(p_b * 2_000_000).astype(int)
    rows = np.repeat(np.arange(len(banners)), np.maximum(1, shares // 100))
    given = Slates(
        reward[rows],
        logging[rows],
        target[rows],
        q[banners, np.arange(PLACES)][rows],
        expected_q(BANNERS, other, q)[rows],
        np.broadcast_to((p_e[:, None] * q[banners, np.arange(PLACES)]).sum(axis=0), (len(rows), PLACES)),
        np.arange(len(rows)),
        marginal=(marginals[0] / marginals[1])[np.arange(PLACES), banners][rows],
    )
    return given, float(p_e @ reward.sum(axis=1))


@pytest.mark.parametrize("cascade", [False, True])
def test_the_estimators_of_banners_have_the_truth_as_their_expectation(cascade):
    given, truth = every_banner(cascade)
    found = {name: estimate(given).value for name, estimate in slates.ESTIMATORS.items()}
    right = ["standard IPS", "self-normalised IPS", "reward-interaction IPS", "cascade-DR"]
    right += [] if cascade else ["independent IPS"]
    assert [found[name] for name in right] == pytest.approx([truth] * len(right), rel=2e-3)
    assert abs(found["DM"] - truth) > 0.01  # its model is wrong
    if cascade:
        assert abs(found["independent IPS"] - truth) > 0.01


def test_one_place_has_the_estimates_of_one_choice():
    given, _ = every_banner(cascade=False)
    first = Slates(*(getattr(given, name)[:, :1] for name in list(Slates.__dataclass_fields__)[:6]), given.users)
    choices = Choices(first.reward[:, 0], first.weight, first.logged_q[:, 0], first.policy_q[:, 0], first.users)
    assert slates.cascade_doubly_robust(first).value == pytest.approx(single.doubly_robust(choices).value)
    assert replace(slates.reward_interaction(first), method="IPW") == single.inverse_propensity(choices)


@given(st.integers(0, 10_000))
def test_estimators_of_one_choice_are_those_of_the_formulas(seed):
    random = np.random.default_rng(seed)
    reward, weight = random.random(90), random.gamma(1.0, 2.0, 90)
    q, policy_q = random.random(90), random.random(90)
    one = Choices(reward, weight, q, policy_q, np.arange(90))
    by = {name: estimate(one).value for name, estimate in single.ESTIMATORS.items()}
    assert by["DM"] == pytest.approx(policy_q.mean())
    assert by["IPW"] == pytest.approx((weight * reward).mean())
    assert by["SNIPW"] == pytest.approx((weight * reward).sum() / weight.sum())
    assert by["DR"] == pytest.approx((policy_q + weight * (reward - q)).mean())
    switched = single.switch_doubly_robust(one, 2.0).value
    assert switched == pytest.approx((policy_q + np.where(weight <= 2, weight, 0) * (reward - q)).mean())
    shrunk = single.shrunk_doubly_robust(one, 9.0).value
    assert shrunk == pytest.approx((policy_q + 9 * weight / (weight**2 + 9) * (reward - q)).mean())
    assert single.switch_doubly_robust(one, np.inf).value == pytest.approx(by["DR"])
    assert single.shrunk_doubly_robust(one, 1e12).value == pytest.approx(by["DR"], rel=1e-6)


def test_the_error_of_the_self_normalised_mean_is_that_of_repeated_logs():
    """Of the ratio, not of its numerator: the wrong influence function is too wide or too narrow by far."""
    random, found, errors = np.random.default_rng(2), [], []
    for _ in range(400):
        weight = random.gamma(0.4, 2.5, 500)
        reward = 5 + random.random(500)
        one = Choices(reward, weight, reward * 0, reward * 0, np.arange(500))
        told = single.self_normalised(one)
        found.append(told.value)
        errors.append(told.standard_error)
    assert np.mean(errors) == pytest.approx(np.std(found), rel=0.15)
    assert single.inverse_propensity(one).standard_error > 5 * np.mean(errors)


def test_standard_errors_are_by_user():
    """Ten copies of every display by the same user say nothing more."""
    random = np.random.default_rng(3)
    reward, weight = random.random(200), random.gamma(1.0, 1.0, 200)
    once = mean_by_user("", weight * reward, reward, np.arange(200))
    again = mean_by_user("", np.repeat(weight * reward, 10), np.repeat(reward, 10), np.repeat(np.arange(200), 10))
    assert (again.value, again.standard_error) == pytest.approx((once.value, once.standard_error))
    assert again.uplift.value == pytest.approx((weight * reward).mean() / reward.mean() - 1)


def test_the_uplift_over_the_logs_own_policy_knows_that_both_are_of_the_same_displays():
    reward = np.random.default_rng(5).random(100)
    found = mean_by_user("", 1.5 * reward, reward, np.arange(100))
    assert (found.uplift.low, found.uplift.value, found.uplift.high) == pytest.approx((0.5, 0.5, 0.5))


@pytest.mark.parametrize("shape", [0.2, 0.7, 1.2])
def test_the_tails_shape_is_that_of_a_generalised_pareto(shape):
    drawn = genpareto.rvs(shape, size=40_000, random_state=1)
    assert pareto_k(drawn) == pytest.approx(shape, abs=0.12)
    tail = np.sort(drawn)
    tail = tail[-600:] - tail[-601]
    assert pareto_k(drawn) == pytest.approx(genpareto.fit(tail, floc=0)[0], abs=0.05)


def test_a_log_that_never_shows_what_the_policy_would_is_not_estimable():
    random = np.random.default_rng(6)
    weight = np.where(random.random(4_000) < 0.5, 1.2, 0.0)  # a mean of .6: the rest is never shown
    found = diagnose(weight, np.arange(4_000)).problem
    assert "the log never shows what the policy would" in found.reason


def test_a_heavy_user_is_not_a_log():
    weight = np.ones(1_000)
    users = np.where(np.arange(1_000) < 400, 0, np.arange(1_000))
    users = np.unique(users, return_inverse=True)[1]
    assert "one user" in str(diagnose(weight, users).problem) or "worth" in str(diagnose(weight, users).problem)


def test_the_clipping_curve_ends_without_a_cut():
    random = np.random.default_rng(7)
    weight, reward = random.pareto(1.5, 500), random.random(500)
    curve = clipping_curve(weight, reward, np.arange(500))
    assert curve[-1].value == pytest.approx((weight * reward).mean()) and curve[-1].cut == 0
    assert curve[0].clip == 1 and curve[0].cut == (weight > 1).sum()
    assert [one.value for one in curve] == sorted(one.value for one in curve)


def test_banners_that_are_not_estimable_whole_say_how_many_places_are():
    random = np.random.default_rng(8)
    shape = (3_000, 3)
    logging, target = np.full(shape, 0.5), np.where(random.random(shape) < 0.5, 1.0, 0.0)
    logging[:, 1:], target[:, 1:] = 0.02, random.random((3_000, 2)) < 0.02
    reward = random.random(shape)
    zero = np.zeros(shape)
    found = evaluate_slates(
        "other", "landed_clicks", Slates(reward, logging, target, zero, zero, zero, np.arange(3_000))
    )
    assert "it bears the first place" in found.estimate.reason
