"""The simulated users' answers: the same however they are asked for, and as frequent as the truth says."""

import math
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.errors import DataError
from data.schema import DAY_US, EVENT_SCHEMA
from data.simulator import Answerer, Marketplace, PopularPolicy, RandomPolicy, preset
from data.simulator.answers import NO_ITEM
from data.simulator.behaviour import ATTENTION_DECAY, CLICK_BY_DEVICE, LANDING_BY_DEVICE, PUBLISHER_STEP
from data.simulator.items import PRICE_SPREAD


@pytest.fixture(scope="module")
def marketplace() -> Marketplace:
    return Marketplace.generate(preset("small"))


@pytest.fixture(scope="module")
def slates(marketplace: Marketplace) -> np.ndarray:
    return RandomPolicy(marketplace)(np.arange(len(marketplace.opportunities)))


def _reference_chain(
    marketplace: Marketplace, which: int, item: int, position: int
) -> tuple[float, float, float, float]:
    """docs/simulator.md's formulas, for one slot, in plain Python."""
    config, items, users, at = marketplace.config, marketplace.items, marketplace.users, marketplace.opportunities
    weights, user, device = config.behaviour, int(at.user[which]), int(at.device[which])
    day = (int(at.ts[which]) - config.start_us) / DAY_US
    phase = int((day + users.phase_shift[user]) / config.phase_days)
    leaf, share = int(items.leaf[item]), config.personalisation
    missed = 1.0
    for k in range(config.interests):
        near = marketplace.tree.similarity[users.interests[user, phase, k], leaf]
        missed *= 1 - users.strengths[user, k] * near
    interest = share * (1 - missed) + (1 - share) * marketplace.behaviour.crowd[leaf]
    apart = sum((share * float(users.style[user, d]) - float(items.style[item, d])) ** 2 for d in range(4))
    style = math.exp(-apart / (2 * weights.style_width**2))
    excess = (float(items.price_level[item]) - share * float(users.price_level[user])) / weights.price_width
    price_fit = math.exp(-0.5 * excess**2 * (1 if excess > 0 else 0.25))
    affinity = interest * (weights.style_floor + (1 - weights.style_floor) * style) * price_fit
    pull = affinity * (1 + weights.affinity_saturation) / (affinity + weights.affinity_saturation)
    quality = math.tanh(float(items.quality[item]))
    click = marketplace.behaviour.click_base + float(users.propensity[user])
    click += PUBLISHER_STEP * (int(at.publisher[which]) - 2) + CLICK_BY_DEVICE[device] + weights.affinity_weight * pull
    click += weights.quality_weight * quality + weights.familiarity_weight * float(items.familiarity[item])
    landing = weights.landing_logit + LANDING_BY_DEVICE[device] + weights.landing_affinity_weight * pull
    sale = marketplace.behaviour.sale_base + weights.sale_affinity_weight * pull + weights.sale_quality_weight * quality
    sale -= weights.sale_price_weight * float(items.price_level[item]) / PRICE_SPREAD
    attention = (1 + position) ** -ATTENTION_DECAY[device]
    return attention * _sigmoid(click), _sigmoid(landing), _sigmoid(sale), float(items.price[item])


def _sigmoid(logit: float) -> float:
    return 1 / (1 + math.exp(-logit))


def test_the_expected_outcome_is_the_documented_formula(marketplace: Marketplace, slates: np.ndarray) -> None:
    which = np.arange(0, len(slates), 97)
    found = Answerer(marketplace).expected(which, slates[which])
    for row, opportunity in enumerate(which.tolist()):
        total = np.zeros(3)
        for position, item in enumerate(slates[opportunity].tolist()):
            if item != NO_ITEM:
                click, landing, sale, value = _reference_chain(marketplace, opportunity, item, position)
                total += [click * landing, click * landing * sale, click * landing * sale * value]
        np.testing.assert_allclose(found[row], total, rtol=1e-5)


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_an_answer_does_not_depend_on_batch_or_order(marketplace: Marketplace, slates: np.ndarray, data: Any) -> None:
    answerer = Answerer(marketplace)
    last = len(slates) - 1
    which = np.array(data.draw(st.lists(st.integers(0, last), min_size=1, max_size=60, unique=True)))
    together = answerer.answer(which, slates[which])
    apart = [row for one in which for row in answerer.answer([one], slates[one : one + 1]).to_pylist()]
    assert together.to_pylist() == apart
    backwards = answerer.answer(which[::-1], slates[which[::-1]])
    assert sorted(map(str, backwards.to_pylist())) == sorted(map(str, apart))


def test_two_answerers_agree_and_another_seed_differs(marketplace: Marketplace, slates: np.ndarray) -> None:
    which = np.arange(len(slates))
    first = Answerer(marketplace).answer(which, slates)
    assert first == Answerer(marketplace).answer(which, slates)
    assert first != Answerer(marketplace, seed=99).answer(which, slates)


def test_frequencies_match_the_expected_outcome_within_sampling_error(
    marketplace: Marketplace, slates: np.ndarray
) -> None:
    which = np.arange(len(slates))
    truth = Answerer(marketplace).expected(which, slates).sum(axis=0)
    drawn = np.array([Answerer(marketplace, seed).outcomes(which, slates).sum(axis=0) for seed in range(200)])
    error = drawn.std(axis=0, ddof=1) / np.sqrt(len(drawn))
    assert (np.abs(drawn.mean(axis=0) - truth) < 4 * error).all()
    assert (error < 0.05 * truth).all()  # so that the line above can fail


def test_the_outcomes_are_those_of_the_events(marketplace: Marketplace, slates: np.ndarray) -> None:
    which = np.arange(len(slates))
    answerer = Answerer(marketplace)
    events, outcomes = answerer.answer(which, slates), answerer.outcomes(which, slates).sum(axis=0)
    kinds = events["kind"].to_pylist()
    assert [kinds.count("landing"), kinds.count("sale")] == outcomes[:2].tolist()
    assert pc.sum(events["order_value"]).as_py() == pytest.approx(outcomes[2])


def test_answers_are_events_in_their_causal_order(marketplace: Marketplace, slates: np.ndarray) -> None:
    which = np.arange(len(slates))
    events = Answerer(marketplace).answer(which, slates, [f"shown-{one}" for one in which])
    events.validate(full=True)
    assert events.schema == EVENT_SCHEMA
    assert pc.count_distinct(events["event_id"]).as_py() == len(events)
    steps: dict[tuple[str, str], dict[str, Any]] = {}
    for event in events.to_pylist():
        _, opportunity, item = event["event_id"].split("-")
        steps.setdefault((opportunity, item), {})[event["kind"]] = event
    bought = 0
    for (opportunity, item), kinds in steps.items():
        click = kinds["click"]
        shown_us = int(marketplace.opportunities.ts[int(opportunity)])
        assert 0 < click["ts"].timestamp() * 1e6 - shown_us < 3600e6
        assert click["display_id"] == f"shown-{opportunity}"
        assert click["item_id"] == marketplace.item_ids[int(item)]
        assert click["user_id"] == marketplace.user_ids[marketplace.opportunities.user[int(opportunity)]]
        if "sale" in kinds:
            bought += 1
            assert kinds["sale"]["display_id"] is None
            assert kinds["sale"]["order_value"] > 0
            assert click["ts"] < kinds["landing"]["ts"] < kinds["sale"]["ts"]
        elif "landing" in kinds:
            assert click["ts"] < kinds["landing"]["ts"]
    assert bought > 5


def test_rates_are_of_the_order_asked_for() -> None:
    marketplace = Marketplace.generate(preset("small", users=6_000))
    which = np.arange(len(marketplace.opportunities))
    slates = PopularPolicy(marketplace)(which)
    at = marketplace.opportunities
    chain = marketplace.behaviour.chain(
        at.user[:, None], np.maximum(slates, 0), np.arange(6), at.ts[:, None], at.publisher[:, None], at.device[:, None]
    )
    click = chain.click * (slates != NO_ITEM)
    assert 0.03 < (1 - np.prod(1 - click, axis=1)).mean() < 0.08
    assert 0.75 < np.average(chain.landing, weights=click) < 0.92
    assert 0.08 < np.average(chain.sale, weights=click * chain.landing) < 0.2


def test_lower_slots_are_clicked_less(marketplace: Marketplace) -> None:
    click = marketplace.behaviour.click(np.array([3]), np.array([20]), np.arange(6), marketplace.config.test_start_us)
    assert (np.diff(click) < 0).all()


def test_at_personalisation_0_every_user_wants_the_same_things() -> None:
    marketplace = Marketplace.generate(preset("small", personalisation=0.0))
    users, items = np.arange(0, 1500, 50)[:, None], np.arange(len(marketplace.items))
    early, late = marketplace.config.test_start_us, marketplace.config.day_us(20)
    click = marketplace.behaviour.click(users, items, np.zeros(1, np.int64), early)
    logit = np.log(click / (1 - click))
    np.testing.assert_allclose(logit - logit[:, :1], np.broadcast_to(logit[0] - logit[0, 0], logit.shape), atol=1e-9)
    np.testing.assert_allclose(marketplace.behaviour.click(users, items, np.zeros(1, np.int64), late), click)
    chain = marketplace.behaviour.chain(users, items, np.zeros(1, np.int64), early)
    assert np.ptp(chain.sale, axis=0).max() < 1e-12


def test_with_personalisation_users_want_different_things(marketplace: Marketplace) -> None:
    users, items = np.arange(0, 1500, 50)[:, None], np.arange(190, 690)
    click = marketplace.behaviour.click(users, items, np.zeros(1, np.int64), marketplace.config.test_start_us)
    assert len(np.unique(click.argmax(axis=1))) > 15


def test_views_follow_the_users_own_interests_only_as_far_as_personalisation_says() -> None:
    shares = {}
    for personalisation in (0.0, 1.0):
        marketplace = Marketplace.generate(preset("small", personalisation=personalisation, related_share=0.0))
        organic, users = marketplace.organic, marketplace.users
        leaf = marketplace.items.leaf[organic.item][:, None]
        phase = users.phase(organic.user, organic.ts, marketplace.config)
        strengths = users.strengths[organic.user] > 0
        own = ((users.interests[organic.user, phase] == leaf) & strengths).any(axis=1).mean()
        stranger = (organic.user + 700) % len(users)
        other = ((users.interests[stranger, phase] == leaf) & (users.strengths[stranger] > 0)).any(axis=1).mean()
        shares[personalisation] = (own, other)
    assert abs(shares[0.0][0] - shares[0.0][1]) < 0.02
    assert shares[1.0][0] > 0.7 > 5 * shares[1.0][1]


@pytest.mark.parametrize(
    ("which", "slate", "problem"),
    [
        ([10**9], [[0]], "opportunity 1000000000 is unknown"),
        ([-1], [[0]], "opportunity -1 is unknown"),
        ([0], [[10**6]], "item 1000000 is unknown"),
        ([0], [[-5]], "item -5 is unknown"),
        ([0, 1], [[0]], "do not fit"),
        ([0], [0], "do not fit"),
    ],
)
def test_a_question_that_makes_no_sense_is_refused(
    marketplace: Marketplace, which: list[int], slate: Any, problem: str
) -> None:
    with pytest.raises(DataError, match=problem):
        Answerer(marketplace).answer(which, slate)
    with pytest.raises(DataError, match=problem):
        Answerer(marketplace).expected(which, slate)


def test_an_item_twice_or_of_another_merchant_is_refused(marketplace: Marketplace, slates: np.ndarray) -> None:
    item, merchant = int(slates[0, 0]), int(marketplace.opportunities.merchant[0])
    with pytest.raises(DataError, match=f"item {item} occurs twice"):
        Answerer(marketplace).answer([0], [[item, NO_ITEM, item]])
    foreign = marketplace.items.slice_of((merchant + 1) % 3).start
    with pytest.raises(DataError, match="another merchant's"):
        Answerer(marketplace).answer([0], [[item, foreign]])
    with pytest.raises(DataError, match="2 display ids for 1 displays"):
        Answerer(marketplace).answer([0], [[item]], ["a", "b"])


def test_an_empty_slate_and_no_displays_have_no_answer(marketplace: Marketplace) -> None:
    answerer = Answerer(marketplace)
    assert len(answerer.answer([0], [[NO_ITEM, NO_ITEM]])) == 0
    assert answerer.expected([0], [[NO_ITEM]]).tolist() == [[0.0, 0.0, 0.0]]
    assert len(answerer.answer([], np.empty((0, 4)))) == 0
    assert answerer.outcomes([], np.empty((0, 4))).shape == (0, 3)
    assert answerer.expected([0, 1], np.empty((2, 0))).tolist() == [[0.0] * 3] * 2
