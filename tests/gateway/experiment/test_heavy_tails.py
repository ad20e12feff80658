"""One large order or one busy user makes no finding, and the report says whose figure it is."""

from itertools import combinations

import numpy as np
import pytest

from gateway.experiment.model import Comparison
from gateway.experiment.statistics.moments import NotEstimable, RatioMoments
from gateway.experiment.statistics.permutation import permutation_p_value
from gateway.experiment.statistics.tails import largest, tails_of
from gateway.experiment.statistics.uplift import absolute_difference, relative_uplift
from gateway.experiment.statistics.winsorisation import cap_of, winsorised
from gateway.experiment.tables import print_report
from tests.support.gateway.log_rows import display, event, report_of, slot


def orders(random, users, mean=100.0):
    return np.where(random.random(users) < 0.2, random.lognormal(np.log(mean), 0.3, users), 0.0)


def comparison(treated, baseline):
    groups = RatioMoments.of(treated), RatioMoments.of(baseline)
    uplift, difference = relative_uplift(*groups), absolute_difference(*groups)
    nothing = dict.fromkeys(("adjusted", "normalised", "true_uplift", "true_normalised"))
    return Comparison("order_value", "B", "A", (), uplift, difference, tails=tails_of(treated, baseline), **nothing)


def test_one_huge_order_in_the_treated_population_gives_no_uplift():
    random = np.random.default_rng(1)
    treated, baseline = orders(random, 500), orders(random, 500)
    treated[3] = 1e7
    found = comparison(treated, baseline)
    assert found.uplift == NotEstimable("too few outcomes in the treated population")
    assert found.rests_on_one and found.conclusion == "unclear"
    assert found.tails.treated.share > 0.99
    away = found.tails.without_largest
    assert away.low < 0 < away.high


@pytest.mark.parametrize("whale", [0, 1e4, 1e5, 1e6])
def test_aa_tests_with_one_large_order_find_nothing_more_often_than_5_in_100(whale):
    """150 tests, three binomial standard errors above 5 %: 10.3 %."""
    found = 0
    for seed in range(150):
        random = np.random.default_rng(seed)
        values = orders(random, 1000)
        if whale:
            values[random.integers(1000)] = whale
        values = random.permutation(values)
        found += comparison(values[:500], values[500:]).conclusion != "unclear"
    assert found / 150 < 0.103


def test_a_real_effect_is_still_found():
    random = np.random.default_rng(2)
    found = comparison(orders(random, 5000, 130.0), orders(random, 5000))
    assert found.conclusion == "gain" and not found.rests_on_one


def test_an_interval_that_excludes_zero_only_because_of_one_user_is_no_finding():
    treated, baseline = np.r_[np.full(36, 10.0), 40.0, np.zeros(463)], np.r_[np.full(22, 10.0), np.zeros(478)]
    found = comparison(treated, baseline)
    assert found.uplift.low > 0 > found.tails.without_largest.low
    assert found.rests_on_one
    assert found.conclusion == "unclear"


def test_permutation_p_is_that_of_all_deals_of_a_small_group():
    """Ten values in two fives: 252 deals. A deal of each user by a coin differs from it by less than 5 points."""
    values = np.array([0, 0, 1, 2, 3, 5, 8, 13, 21, 34], np.float64)
    treated = values[[3, 5, 7, 8, 9]]
    observed = abs(treated.mean() - values.mean())
    deals = [abs(np.mean(deal) - values.mean()) >= observed - 1e-9 for deal in combinations(values, 5)]
    baseline = values[[0, 1, 2, 4, 6]]
    assert permutation_p_value(treated, baseline, 20_000) == pytest.approx(np.mean(deals), abs=0.05)


@pytest.mark.parametrize("users", [3_000, 60_000])
def test_permutation_p_of_many_users_is_that_of_the_normal_test(users):
    random = np.random.default_rng(5)
    treated, baseline = random.normal(1.02, 1, users), random.normal(1.0, 1, users)
    expected = absolute_difference(RatioMoments.of(treated), RatioMoments.of(baseline)).p_value
    assert permutation_p_value(treated, baseline) == pytest.approx(expected, abs=0.05)


def test_a_cap_that_would_be_zero_is_not_applied_and_both_parts_are_cut_over_the_same_users():
    orders_of, buyers = np.r_[np.full(20, 20.0), np.zeros(80)], np.r_[np.ones(20), np.zeros(80)]
    y, d = winsorised(orders_of, buyers)
    assert y.sum() / d.sum() == 20  # the mean order stays what it is
    rare = np.r_[5.0, np.zeros(99)]
    assert cap_of(rare) == 0
    assert winsorised(rare, np.ones(100))[0].tolist() == rare.tolist()


def test_the_largest_user_is_told_by_share_and_by_how_many_times_the_others():
    assert largest(np.r_[99.0, np.ones(11)]).rests_on_one
    assert not largest(np.ones(3)).rests_on_one
    assert not largest(np.zeros(3)).rests_on_one
    assert not largest(np.r_[2.0, 1.0]).rests_on_one


def test_daily_looks_are_believed_from_enough_outcomes_on():
    few, other = np.r_[np.ones(12), np.zeros(988)], np.r_[np.ones(300), np.zeros(700)]
    found = comparison(other, few)
    assert found.uplift.always_valid[0] > 0 and found.tails.stands(*found.uplift.always_valid)
    assert found.conclusion == "gain" and found.lasting_conclusion == "unclear"
    assert largest(few).effective == pytest.approx(12)


def shop(busy=0, order=10.0):
    """200 users in two populations, one order in three; one user of B with more displays, or with a larger order."""
    rows = [display(f"d{u}-{k}", f"u{u}", "AB"[u % 2]) for u in range(200) for k in range(1 + u % 3)]
    rows += [display(f"busy{k}", "u1", "B", slots=[slot(0, "i0")]) for k in range(busy)]
    events = []
    for user in range(0, 200, 3):
        events.append(event(f"c{user}", "click", f"u{user}", 1, shown=f"d{user}-0"))
        events.append(event(f"s{user}", "sale", f"u{user}", 2, value=order if user == 3 else 10.0 + user % 7))
    return rows, events


def test_a_figure_that_rests_on_one_order_is_said_in_health_in_words_and_in_the_verdict(capsys):
    found = report_of(*shop(order=1e6), metric="order_value")
    check = next(check for check in found.checks if check.name == "Large outcomes")
    assert check.status == "look" and "one user has 100% of B's order value" in check.sentence
    assert found.verdict.decision == "keep looking"
    assert "rests on one user" in " ".join(found.verdict.reasons)
    print_report(found)
    assert "it rests on one user" in " ".join(capsys.readouterr().out.split())


def test_a_busy_user_is_not_called_fine():
    check = next(check for check in report_of(*shop(busy=2000)).checks if check.name == "Exposure")
    assert check.status == "look"
    assert "one user saw 91% of B's displays" in check.sentence
