"""The temporal protocol against a telling user by user, and ClickRank against its definition."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_matrix

from candidates.errors import CandidatesError
from candidates.protocols.splits import HeldOutUsers
from candidates.protocols.temporal import Banners, click_ranks, temporal_split
from data.schema import DISPLAY_SCHEMA, EVENT_SCHEMA, TIMESTAMP

DAY_US = 86_400_000_000
Row = tuple[int, str, str, str, str | None]


def events_of(rows: list[Row]) -> pa.Table:
    """Rows of (time in microseconds, user, kind, item, display)."""
    count = len(rows)
    columns: dict[str, Any] = {
        "event_id": [f"e{place}" for place in range(count)],
        "ts": pa.array([row[0] for row in rows], pa.int64()).cast(TIMESTAMP),
        "user_id": [row[1] for row in rows],
        "kind": [row[2] for row in rows],
        "item_id": [row[3] for row in rows],
        "merchant_id": ["m"] * count,
        "country": ["AA"] * count,
        "display_id": pa.array([row[4] for row in rows], pa.string()),
        "order_id": pa.nulls(count, pa.string()),
        "order_value": pa.nulls(count, pa.float64()),
    }
    return pa.table(columns).cast(EVENT_SCHEMA)


def displays_of(rows: list[tuple[int, str, str, list[str]]]) -> pa.Table:
    """Rows of (time, user, display, items)."""
    slot = {"category": "", "sources": [], "score": 0.0, "dense": []}
    texts = ("merchant_id", "country", "publisher", "device", "experiment", "population", "config_hash")
    lists = ("degraded", "recent_items", "recent_categories", "dense_names")
    table = [
        {
            "display_id": display,
            "ts": ts,
            "user_id": user,
            "bundle_version": "",
            "stage_us": [],
            "slots": [{"position": place, "item_id": item, **slot} for place, item in enumerate(items)],
            **dict.fromkeys(texts, ""),
            **{name: [] for name in lists},
        }
        for ts, user, display, items in rows
    ]
    return pa.Table.from_pylist(table, schema=DISPLAY_SCHEMA)


def told_and_asked(rows: list[Row], days: float, anchor: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """(training and validation users, test users): user -> (told, asked) items, by the definition, user by user."""
    length, last = days * DAY_US, max(row[0] for row in rows)
    learnt, tested = {}, {}
    before_test = set()
    for user in {row[1] for row in rows}:
        mine = [row for row in rows if row[1] == user]
        end = last if anchor == "log" else max(row[0] for row in mine)
        early = [row for row in mine if row[0] <= end - length]
        before_test |= {row[3] for row in early}
        late = [row for row in mine if row[0] > end - length]
        cut = end - length if anchor == "log" else max((row[0] for row in early), default=0)
        inputs = {row[3] for row in early if row[0] <= cut - length}
        learnt[user] = (inputs, {row[3] for row in early if row[0] > cut - length and row[2] != "view"} - inputs)
        told = {row[3] for row in early}
        tested[user] = (told, {row[3] for row in late if row[2] != "view"} - told)
    tested = {user: (told, asked & before_test) for user, (told, asked) in tested.items()}
    return tuple({user: one for user, one in part.items() if one[0] and one[1]} for part in (learnt, tested))  # type: ignore[return-value]


def sets_of(inputs: csr_matrix, targets: csr_matrix, item_ids: np.ndarray) -> list[tuple[set[str], set[str]]]:
    return [
        (set(item_ids[inputs[row].indices].tolist()), set(item_ids[targets[row].indices].tolist()))
        for row in range(inputs.shape[0])
    ]


@st.composite
def logs(draw: st.DrawFn) -> list[Row]:
    events = st.tuples(
        st.integers(0, 30 * 24).map(lambda hour: hour * DAY_US // 24),
        st.sampled_from([f"u{place}" for place in range(8)]),
        st.sampled_from(["view", "view", "click", "sale"]),
        st.sampled_from([f"i{place}" for place in range(9)]),
        st.none(),
    )
    return draw(st.lists(events, min_size=30, max_size=120))


@settings(deadline=None, max_examples=60)
@given(logs(), st.sampled_from(["log", "user"]), st.sampled_from([1.0, 7.0, 10.5]))
def test_the_split_is_its_definition_told_user_by_user(rows, anchor, days):
    learnt, tested = told_and_asked(rows, days, anchor)
    if len(learnt) < 2 or not tested:
        with pytest.raises(CandidatesError, match="expected at least 2 and 1"):
            temporal_split(events_of(rows), None, days, anchor)
        return
    split = temporal_split(events_of(rows), None, days, anchor, seed=3)
    ordered = [tested[user] for user in sorted(tested)]
    assert sets_of(split.test.fold_in, split.test.targets, split.item_ids) == ordered
    found = sets_of(split.inputs, split.targets, split.item_ids)
    validated = sets_of(split.validation.fold_in, split.validation.targets, split.item_ids)
    key = str
    everybody = [(sorted(told), sorted(asked)) for told, asked in [*found, *validated]]
    assert sorted(everybody, key=key) == sorted([(sorted(a), sorted(b)) for a, b in learnt.values()], key=key)
    assert len(validated) == max(1, round(0.1 * len(learnt)))
    assert split.banners is None


def test_nothing_of_the_test_days_is_learnt_from():
    rows = [(day * DAY_US, f"u{user}", "click", f"i{day + user}", None) for day in range(21) for user in range(12)]
    late = [(20 * DAY_US, "u0", "click", "only late", None)]
    split = temporal_split(events_of([*rows, *late]))
    assert "only late" not in split.item_ids
    assert split.pretraining.shape == (12, 25)


def test_banners_are_those_of_test_users_in_test_days_with_a_click_beside_something_else():
    shown = 19 * DAY_US
    rows: list[Row] = [
        (day * DAY_US, f"u{user}", "click", f"i{(day * 3 + user) % 13}", None) for day in range(20) for user in range(6)
    ]
    rows += [
        (shown, "u0", "click", "i1", "d1"),
        (shown, "u0", "landing", "i1", "d1"),
        (shown, "u1", "click", "i2", "d3"),
    ]
    rows += [(2 * DAY_US, "u0", "click", "i1", "d4"), (shown, "stranger", "click", "i1", "d5")]
    rows += [
        (DAY_US, "u5", "view", "i50", None),
        (shown, "u0", "click", "i50", None),
        (shown, "u1", "click", "i50", None),
    ]
    displays = displays_of(
        [
            (shown - 5, "u0", "d1", ["i0", "i1", "never seen"]),
            (shown - 4, "u0", "d2", ["i0", "i1"]),  # no click
            (shown - 3, "u1", "d3", ["i2"]),  # nothing beside it
            (2 * DAY_US, "u0", "d4", ["i0", "i1"]),  # too early
            (shown - 2, "stranger", "d5", ["i0", "i1"]),  # no history
        ]
    )
    split = temporal_split(events_of(rows), displays)
    banners = split.banners
    assert banners is not None
    assert (len(banners), banners.offsets.tolist(), banners.clicked.tolist()) == (1, [0, 3], [False, True, False])
    assert banners.column.tolist() == [*np.searchsorted(split.item_ids, ["i0", "i1"]).tolist(), -1]


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10**6), st.integers(1, 6), st.integers(1, 4))
def test_click_rank_is_the_share_of_other_items_above_the_clicked_one(seed, count, users):
    rng = np.random.default_rng(seed)
    known = rng.integers(0, 4, (users, 9)).astype(np.float32)  # with ties
    fold_in = csr_matrix(np.eye(users, 9, dtype=np.float32))
    lengths = rng.integers(2, 6, count)
    row, column = rng.integers(0, users, count), rng.integers(-1, 9, lengths.sum())
    clicked = rng.random(len(column)) < 0.4
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    banners = Banners(row, offsets, column, clicked)
    ranks: dict[int, list[float]] = {}
    for banner in range(count):
        score = [
            -np.inf if one < 0 else known[row[banner], one] for one in column[offsets[banner] : offsets[banner + 1]]
        ]
        for place, hit in enumerate(clicked[offsets[banner] : offsets[banner + 1]]):
            if hit:
                others = [one for other, one in enumerate(score) if other != place]
                above = sum((one > score[place]) + 0.5 * (one == score[place]) for one in others)
                ranks.setdefault(int(row[banner]), []).append(above / len(others))
    found = click_ranks(lambda told: known[told.indices], HeldOutUsers(fold_in, fold_in), banners)
    assert found == pytest.approx([np.mean(ranks[user]) for user in sorted(ranks)])


def test_a_perfect_order_has_click_rank_0_and_a_reversed_one_1():
    fold_in = csr_matrix(np.eye(1, 4, dtype=np.float32))
    banners = Banners(np.array([0]), np.array([0, 3]), np.array([1, 2, 3]), np.array([True, False, False]))
    for scores, expected in (([0, 3, 2, 1], 0.0), ([0, 1, 2, 3], 1.0), ([0, 1, 1, 1], 0.5)):
        known = np.array([scores], np.float32)
        assert click_ranks(lambda told, known=known: known, HeldOutUsers(fold_in, fold_in), banners) == [expected]


@pytest.mark.parametrize(("days", "anchor"), [(0, "log"), (-1, "user"), (7, "midnight")])
def test_a_wrong_question_is_one_sentence(days, anchor):
    with pytest.raises(CandidatesError, match=r"found|expected log or user"):
        temporal_split(events_of([(0, "u", "view", "i", None)]), None, days, anchor)
