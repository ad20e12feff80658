"""LED as the paper trains its online one: the last days are asked for, what was shown in vain is a negative."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from candidates.behaviour import Lists, LocalBehaviour
from candidates.config import LedConfig
from candidates.errors import CandidatesError
from candidates.led.country_training import train
from candidates.led.examples import LedTimelines, batches, split_timelines
from candidates.led.shards import LedShards
from candidates.training import prepared
from candidates.training_set import Stopwatch
from data.schema import DAY_US
from data.timelines import Timelines
from tests.support.candidates import SMALL


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 1000), st.sampled_from([0.5, 2.0, 6.0]), st.booleans())
def test_the_targets_are_what_each_user_did_in_their_last_days_and_the_input_what_came_before(
    trained: Any, seed: int, days: float, clicks: bool
) -> None:
    config = SMALL.changed(led=SMALL.led.changed(target_days=days, targets="clicks" if clicks else "all"))
    events = trained.events.take(pa.array(np.random.default_rng(seed).permutation(len(trained.events))[:600]))
    with prepared(events, trained.items, config, seed, Stopwatch()) as (training, _):
        country = training.countries[0]
        (timelines,) = LedShards.of(training, country)
        users = training.behaviour.shards(country.country)[0]
    told, asked = split_timelines(timelines, "next_days", 0.5, np.random.default_rng(0))
    for user in range(len(users)):
        rows = range(users.offsets[user], users.offsets[user + 1])
        newest = max(users.ts[row] for row in rows)
        before = [row for row in rows if newest - users.ts[row] >= days * DAY_US]
        later = [row for row in rows if row not in before and (users.beyond_view[row] or not clicks)]
        assert [row for row in rows if told[row]] == before
        assert [row for row in rows if asked[row]] == (later if before else [])


def test_a_matrix_has_no_days() -> None:
    one = np.ones(2, bool)
    timelines = LedTimelines(
        np.array([0, 2]), np.arange(2, dtype=np.int32), one, one, np.zeros(2, int), np.array([0, 2])
    )
    with pytest.raises(CandidatesError, match="split next_days needs the times of events, which a matrix lacks"):
        split_timelines(timelines, "next_days", 0.5, np.random.default_rng(0))


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.lists(st.integers(0, 9), max_size=6, unique=True), min_size=3, max_size=6),
    st.sampled_from([0.0, 0.5, 1.0]),
    st.integers(0, 1000),
)
def test_a_rows_negatives_are_what_its_user_was_shown_of_its_merchant_in_vain(
    unclicked: list[list[int]], share: float, seed: int
) -> None:
    """Where there is none of these, and for the rest, they are any of the merchant's items."""
    count, draws = len(unclicked), 40
    items = np.tile(np.arange(10, dtype=np.int32), count)  # user u: 0 to 9, told apart by what they are told
    told = np.zeros(len(items), bool)
    for user in range(count):
        told[10 * user + user] = True
    shown = Lists(
        np.cumsum([0, *map(len, unclicked)]), np.array([item for one in unclicked for item in sorted(one)], np.int32)
    )
    merchant = np.array([0, 0, 0, 0, 1, 1, 2, 2, 2, 2], np.int64)
    bounds = np.array([0, 4, 6, 10])
    timelines = LedTimelines(np.arange(count + 1) * 10, items, told, ~told, merchant, bounds, unclicked=shown)
    config = LedConfig(loss="bpr", negatives=draws, dropout=0.0, negatives_per="user", unclicked_negatives=share)
    rows = 0
    for batch in batches(timelines, told, ~told, config, 4, np.random.default_rng(seed)):
        assert batch.drawn is not None
        for row, user in enumerate(batch.input_items.tolist()):
            own = int(merchant[batch.target_items[batch.target_rows == row][0]])
            drawn = batch.negatives[batch.drawn[row]].tolist()
            assert len(drawn) == draws and set(merchant[drawn].tolist()) == {own}
            in_vain = {item for item in unclicked[user] if merchant[item] == own}
            if in_vain:
                assert sum(item in in_vain for item in drawn) >= share * draws
            rows += 1
    assert rows == 3 * count


def test_what_was_shown_in_vain_is_known_by_user_and_item_as_far_as_both_are(trained: Any) -> None:
    timelines = Timelines.of(trained.events, trained.items)
    ids = trained.items.items.ids()
    rows = [
        (timelines.users[3], ids[9]),
        (timelines.users[3], ids[2]),
        ("nobody", ids[1]),
        (timelines.users[5], "none"),
    ]
    rows += [(timelines.users[7], ids[4])]
    table = pa.table({"user_id": [user for user, _ in rows], "item_id": [item for _, item in rows]})
    behaviour = LocalBehaviour(timelines, trained.items, table)
    found: dict[str, list[int]] = {}
    for country in sorted(set(timelines.countries)):
        (users,) = behaviour.shards(country)
        names = [user for user, home in zip(timelines.users, timelines.countries, strict=True) if home == country]
        for place, name in enumerate(names):
            own = users.unclicked.items[slice(*users.unclicked.offsets[place : place + 2])].tolist()
            found |= {name: own} if own else {}
    assert found == {timelines.users[3]: [2, 9], timelines.users[7]: [4]}


def test_later_days_decide_between_trainings_that_hide_items_at_random_and_those_that_hide_the_last_days(
    trained: Any, tmp_path: Any
) -> None:
    led = SMALL.led.changed(epochs=1, target_days=3.0)
    config = SMALL.changed(targets="next_days", led=led)
    with prepared(trained.events, trained.items, config, 0, Stopwatch()) as (training, _):
        figures = train(training, tmp_path)
        asked = [one for country in training.countries for one in country.validation]
    timelines = Timelines.of(trained.events, trained.items)
    assert asked
    for one in asked:
        user = timelines.users.index(one.request.user_id)
        rows = slice(timelines.offsets[user], timelines.offsets[user + 1])
        ts, cut = timelines.ts[rows], timelines.ts[rows][-1] - 3 * DAY_US
        assert np.array_equal(one.request.history.items, timelines.items[rows][ts <= cut])
        later = np.setdiff1d(timelines.items[rows][ts > cut], one.request.history.items)
        assert np.isin(one.targets, later).all()
    for country in figures.values():
        names = {"spectral", "project", "full", "project, next days", "full, next days"}
        recalls = {name: one["validation_recall@20"] for name, one in country["contenders"].items()}
        assert set(recalls) == names
        assert recalls[country["chosen"]] == max(recalls.values())
        assert country["why"] == "best on validation users' later days"


def test_negatives_that_no_loss_draws_are_refused() -> None:
    with pytest.raises(
        CandidatesError, match=r"led\.unclicked_negatives are drawn negatives, and the loss multinomial"
    ):
        LedConfig(loss="multinomial", unclicked_negatives=0.5)
