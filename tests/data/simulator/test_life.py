"""Complements, seasons, novelty, budgets, users who come and go: off by default, and what each does when it is on."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.errors import DataError
from data.schema import DAY_US, EventKind
from data.simulator import Answerer, Experiment, Marketplace, PopularPolicy, RandomPolicy, preset
from data.simulator.life import is_there, season
from data.simulator.tree import category_tree


def small(**life: float) -> Marketplace:
    return Marketplace.generate(preset("small", users=400, life=life))


@pytest.fixture(scope="module")
def plain() -> Marketplace:
    return small()


def test_nothing_is_on_unless_asked_for(plain: Marketplace) -> None:
    assert not any(value for name, value in plain.config.life if not name.endswith("days"))
    assert plain.config.fingerprint() == preset("small", users=400).fingerprint()
    assert small(seasons=0.5).config.fingerprint() != plain.config.fingerprint()
    longer = small(season_days=9.0, spell_days=3.0)  # of what is off
    assert np.array_equal(longer.organic.item, plain.organic.item)
    assert np.array_equal(longer.opportunities.ts, plain.opportunities.ts)


def test_an_interest_spreads_to_what_goes_with_it() -> None:
    tree, plain = category_tree(0.3), category_tree()
    changed = np.argwhere(tree.similarity != plain.similarity)
    assert len(changed) == len(tree) and set(changed[:, 0]) == set(range(len(tree)))
    assert (tree.department[changed[:, 0]] != tree.department[changed[:, 1]]).all()
    assert (tree.similarity >= plain.similarity).all()


@settings(max_examples=30)
@given(st.floats(0.01, 1), st.floats(1, 60))
def test_a_season_is_a_wave_around_one(amplitude: float, days: float) -> None:
    config = preset("small", life={"seasons": amplitude, "season_days": days})
    ts = config.start_us + (np.arange(200) / 200 * days * DAY_US).astype(np.int64)
    wave = np.asarray(season(config, np.arange(10)[:, None], ts))
    assert np.allclose(wave.mean(axis=1), 1, atol=1e-3)
    assert (np.abs(wave - 1) <= amplitude + 1e-9).all() and wave.max() > 1 + 0.99 * amplitude


def test_seasons_move_what_is_browsed_and_what_is_clicked() -> None:
    market = small(seasons=1.0, season_days=14.0)
    views = market.organic.kind == EventKind.view
    leaf, ts = market.items.leaf[market.organic.item[views]], market.organic.ts[views]
    strength = np.asarray(season(market.config, leaf, ts))
    assert strength.mean() > 1.1, "leaves are viewed in their season"
    users, items = np.arange(50), np.full(50, 10)
    at = [market.config.day_us(day) for day in np.arange(14, 21, 0.5)]
    interest = [market.behaviour.interest(users, market.items.leaf[items], one).mean() for one in at]
    assert max(interest) > 1.5 * min(interest)


@pytest.mark.parametrize(("weight", "sign"), [(-1.0, -1), (1.0, 1)])
def test_what_was_viewed_is_clicked_less_or_more(plain: Marketplace, weight: float, sign: int) -> None:
    market = small(seen_weight=weight)
    which = np.arange(len(market.opportunities))
    slates = PopularPolicy(market)(which)
    seen = Answerer(market).past.has_viewed(
        market.opportunities.user[:, None], np.maximum(slates, 0), market.opportunities.ts[:, None]
    )
    row, slot = np.argwhere(seen & (slates >= 0))[0]
    history = market.history(int(market.opportunities.user[row]), int(market.opportunities.ts[row]), 10_000)
    assert slates[row, slot] in history.items
    one = slates[row : row + 1, slot : slot + 1]
    new, old = (Answerer(each).expected([row], one)[0, 0] for each in (market, plain))
    assert sign * (new - old) > 0


def test_who_has_spent_buys_less() -> None:
    market = small(budget_weight=0.5)
    spent = Answerer(market).past.spent
    buyers = np.unique(market.organic.user[market.organic.kind == EventKind.sale])
    assert (spent[buyers] > 0).all() and np.count_nonzero(spent) == len(buyers)
    which = np.flatnonzero(np.isin(market.opportunities.user, buyers))[:50]
    slates = PopularPolicy(market)(which)
    found, without = Answerer(market).expected(which, slates), Answerer(small()).expected(which, slates)
    assert np.allclose(found[:, 0], without[:, 0]) and (found[:, 1] < without[:, 1]).all()


def test_users_come_back_or_leave_for_good() -> None:
    days = np.linspace(0, 60, 400)
    users, arrival = np.arange(300), np.zeros(300)

    def there(**life: float) -> np.ndarray:
        config = preset("small", life={"spell_days": 4.0, "pause_days": 4.0, **life})
        return np.array([is_there(config, users, arrival, np.full(300, day)) for day in days])

    assert is_there(preset("small"), users, arrival, arrival) == slice(None)
    leaving = there(churning=1.0)
    assert (np.diff(leaving.astype(int), axis=0) <= 0).all(), "who left stays away"
    assert leaving[0].all() and leaving[-1].mean() < 0.05
    returning = there(returning=1.0)
    assert (np.diff(returning.astype(int), axis=0) > 0).any(axis=0).mean() > 0.8
    assert 0.3 < returning.mean() < 0.7
    some = there(returning=0.2, churning=0.2)
    assert 0.5 < some.all(axis=0).mean() < 0.7


def test_fewer_days_of_users_are_fewer_sessions_and_opportunities(plain: Marketplace) -> None:
    market = small(returning=0.4, churning=0.4, spell_days=5.0)
    assert len(market.organic) < 0.8 * len(plain.organic)
    assert 0 < len(market.opportunities) < 0.8 * len(plain.opportunities)


def test_a_test_of_two_equal_policies_stays_a_test_without_effect(tmp_path) -> None:  # type: ignore[no-untyped-def]
    config = preset("lively", users=400, merchant_sizes=(40, 150, 500))
    market = Marketplace.generate(config)
    market.save(tmp_path / "m")
    again = Marketplace.load(tmp_path / "m")
    equal = Experiment(again, {"A": RandomPolicy(again, seed=1), "B": RandomPolicy(again, seed=1)})
    assert equal.truth["A"] == equal.truth["B"]
    _, first = equal.outcomes({"A": 1.0, "B": 0.0}, seed=5)
    _, second = equal.outcomes({"A": 0.0, "B": 1.0}, seed=5)
    assert np.array_equal(first, second), "the same slate has the same answer, whoever shows it"
    drawn = np.mean([equal.outcomes({"A": 1.0, "B": 0.0}, seed)[1].mean(axis=0)[0] for seed in range(100)])
    assert drawn == pytest.approx(equal.truth["A"].landed_clicks, rel=0.12)


def test_shares_of_users_that_do_not_fit_are_refused() -> None:
    with pytest.raises(DataError, match="expected a sum of at most 1"):
        preset("small", life={"returning": 0.7, "churning": 0.7})
