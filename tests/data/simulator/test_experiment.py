"""A/B tests without a gateway: valid tables, and a truth that the tests estimate without bias."""

import numpy as np
import pyarrow.compute as pc
import pytest

from data.errors import DataError
from data.schema import DISPLAY_SCHEMA
from data.simulator import (
    AffinityPolicy,
    Answerer,
    Experiment,
    Marketplace,
    PopularPolicy,
    RandomPolicy,
    ab_test,
    preset,
)
from data.simulator.answers import NO_ITEM


@pytest.fixture(scope="module")
def marketplace() -> Marketplace:
    return Marketplace.generate(preset("small"))


@pytest.fixture(scope="module")
def experiment(marketplace: Marketplace) -> Experiment:
    return Experiment(marketplace, {"A": PopularPolicy(marketplace), "B": AffinityPolicy(marketplace, noise=0.5)})


def test_the_tables_of_a_test_are_valid_and_belong_together(marketplace: Marketplace, experiment: Experiment) -> None:
    displays, tracked, truth = experiment.run({"A": 0.3, "B": 0.7}, seed=5)
    displays.validate(full=True)
    tracked.validate(full=True)
    assert displays.schema == DISPLAY_SCHEMA
    assert len(displays) == len(marketplace.opportunities)
    assert set(truth) == {"A", "B"}
    clicks = tracked.filter(pc.equal(tracked["kind"], "click"))
    shown = {row["display_id"]: row for row in displays.to_pylist()}
    assert len(shown) == len(displays)
    for click in clicks.to_pylist():
        display = shown[click["display_id"]]
        assert click["item_id"] in [slot["item_id"] for slot in display["slots"]]
        assert (click["user_id"], click["merchant_id"]) == (display["user_id"], display["merchant_id"])
        assert click["ts"] > display["ts"]
    for which, display in list(enumerate(shown.values()))[::50]:
        assert len(display["slots"]) == marketplace.opportunities.slots[which]
        assert {tuple(slot["sources"]) for slot in display["slots"]} == {
            ("popular",) if display["population"] == "A" else ("affinity",)
        }
        user, ts = int(marketplace.opportunities.user[which]), int(marketplace.opportunities.ts[which])
        history = marketplace.history(user, ts, limit=10)
        assert display["recent_items"] == [marketplace.item_ids[item] for item in history.items.tolist()]


def test_users_stay_in_their_population_and_shares_are_kept(experiment: Experiment) -> None:
    displays, _, _ = experiment.run({"A": 0.3, "B": 0.7}, seed=5)
    pairs = displays.group_by(["user_id", "population"]).aggregate([])
    assert pc.count_distinct(pairs["user_id"]).as_py() == len(pairs) == len(experiment.users)
    share = pc.mean(pc.equal(pairs["population"], "A")).as_py()
    assert abs(share - 0.3) < 4 * np.sqrt(0.3 * 0.7 / len(pairs))


def test_an_a_a_test_has_no_true_uplift(marketplace: Marketplace) -> None:
    policy = RandomPolicy(marketplace)
    truth = ab_test(marketplace, {"A": policy, "A2": policy}, {"A": 0.5, "A2": 0.5}, seed=1).truth
    assert truth["A"] == truth["A2"]
    assert min(truth["A"]) > 0


def test_the_truth_is_the_mean_over_users_had_they_all_been_in_that_population(
    marketplace: Marketplace, experiment: Experiment
) -> None:
    answerer, at, policy = Answerer(marketplace), marketplace.opportunities, PopularPolicy(marketplace)
    per_user: dict[int, float] = {}
    for which in range(len(at)):
        expected = answerer.expected([which], policy(np.array([which])))[0, 0]
        per_user[int(at.user[which])] = per_user.get(int(at.user[which]), 0.0) + expected
    assert experiment.truth["A"].landed_clicks == pytest.approx(np.mean(list(per_user.values())))


def test_the_difference_of_means_is_unbiased_for_the_truth(experiment: Experiment) -> None:
    differences = []
    for seed in range(150):
        population, outcomes = experiment.outcomes({"A": 0.5, "B": 0.5}, seed)
        differences.append(outcomes[population == 1].mean(axis=0) - outcomes[population == 0].mean(axis=0))
    truth = np.subtract(experiment.truth["B"], experiment.truth["A"])
    error = np.std(differences, axis=0, ddof=1) / np.sqrt(len(differences))
    assert (np.abs(np.mean(differences, axis=0) - truth) < 4 * error).all()
    assert (truth[:2] > 10 * error[:2]).all()  # affinity is better here, and the test can see it


def test_outcomes_without_tables_are_those_of_the_tables(marketplace: Marketplace, experiment: Experiment) -> None:
    shares = {"A": 0.5, "B": 0.5}
    population, outcomes = experiment.outcomes(shares, seed=7)
    displays, tracked, _ = experiment.run(shares, seed=7)
    assert pc.sum(tracked["order_value"]).as_py() == pytest.approx(outcomes[:, 2].sum())
    of_user = dict(zip(displays["user_id"].to_pylist(), displays["population"].to_pylist(), strict=True))
    names = [marketplace.user_ids[user] for user in experiment.users]
    assert [of_user[name] for name in names] == ["AB"[one] for one in population]


def test_a_given_assignment_is_used(marketplace: Marketplace, experiment: Experiment) -> None:
    everybody_b = np.ones(len(marketplace.users), np.int64)
    displays, _, _ = experiment.run({"A": 0.5, "B": 0.5}, seed=1, assignment=everybody_b)
    assert displays["population"].unique().to_pylist() == ["B"]


@pytest.mark.parametrize("shares", [{"A": 1.0}, {"A": 0.5, "C": 0.5}, {"A": -1.0, "B": 2.0}, {"A": 0.0, "B": 0.0}])
def test_shares_that_do_not_fit_the_policies_are_refused(experiment: Experiment, shares: dict[str, float]) -> None:
    with pytest.raises(DataError, match="expected non-negative shares of A, B"):
        experiment.run(shares, seed=1)


def test_policies_show_distinct_available_items_of_the_merchant_in_every_slot() -> None:
    marketplace = Marketplace.generate(preset("small", unavailable_share=0.2))
    which, at, items = np.arange(1500), marketplace.opportunities, marketplace.items
    for policy in (PopularPolicy(marketplace), RandomPolicy(marketplace), AffinityPolicy(marketplace)):
        slates = policy(which)
        shown = slates != NO_ITEM
        assert np.array_equal(shown.sum(axis=1), at.slots[which])
        assert items.available[slates[shown]].all()
        assert (items.merchant[slates] == at.merchant[which][:, None])[shown].all()
        assert all(len(set(row)) == len(row) for row in (slate[slate != NO_ITEM].tolist() for slate in slates))
        assert np.array_equal(policy(which[700:720]), slates[700:720])  # whatever it is asked together with


def test_at_personalisation_0_the_users_own_affinity_is_anybodys() -> None:
    marketplace = Marketplace.generate(preset("small", personalisation=0.0))
    everybody = AffinityPolicy(marketplace, noise=0.0, pool=600)(np.arange(len(marketplace.opportunities)))
    at = marketplace.opportunities
    for merchant in range(3):
        best = everybody[(at.merchant == merchant) & (at.slots == 6)]
        assert len(best) > 20
        assert (best == best[0]).all()
