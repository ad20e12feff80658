"""Counts, timelines and co-occurrence on both engines, against slow, obvious references over dictionaries."""

from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest

from data import attribution, relations
from data.engine import read_table

DAY = 86_400_000_000


def test_of_events_with_one_id_the_earliest_stays(connection, logs):
    rows = [
        logs.event(1, ts=5, item="late"),
        logs.event(1, ts=3, item="early"),
        logs.event(2, ts=9),
        logs.event(1, ts=3, item="fearly"),
    ]
    found = logs.run(relations.distinct_events(read_table(connection, logs.events_table(rows))), "event_id")
    assert [(row["event_id"], row["item_id"]) for row in found] == [("e1", "early"), ("e2", "i1")]


@pytest.mark.parametrize("bounds", [(None, None), (10 * DAY, 30 * DAY), (None, 5 * DAY)])
def test_item_counts_are_those_of_a_loop(connection, bounds, logs):
    rows, _ = logs.random_log(1)
    start, end = bounds
    expected = defaultdict(Counter)
    users = defaultdict(set)
    for row in rows:
        if (start is None or row["ts"] >= start) and (end is None or row["ts"] < end):
            key = row["merchant_id"], row["item_id"]
            expected[key][row["kind"]] += 1
            users[key].add(row["user_id"])
    found = logs.run(relations.item_counts(read_table(connection, logs.events_table(rows)), start=start, end=end))
    assert {(row["merchant_id"], row["item_id"]): row for row in found} == {
        (merchant, item): {
            **{"merchant_id": merchant, "item_id": item, "users": len(users[merchant, item])},
            **{name: kinds[kind] for name, kind in zip(NAMES, KINDS, strict=True)},
        }
        for (merchant, item), kinds in expected.items()
    }


NAMES, KINDS = ("views", "clicks", "landings", "sales"), ("view", "click", "landing", "sale")


@pytest.mark.parametrize("start", [None, 10 * DAY])
def test_decayed_users_are_those_of_a_loop(connection, start, logs):
    rows, _ = logs.random_log(2)
    until, half_life, last = max(row["ts"] for row in rows), 3.5, {}
    for row in rows:
        if start is None or row["ts"] >= start:
            key = row["item_id"], row["user_id"]
            last[key] = max(last.get(key, 0), row["ts"])
    expected = defaultdict(float)
    for (item, _), ts in last.items():
        expected[item] += 2 ** (-(until // 10**6 - ts // 10**6) / 86_400 / half_life)
    events = read_table(connection, logs.events_table(rows))
    found = logs.run(relations.decayed_item_users(events, until, half_life, start), "item_id")
    assert {row["item_id"]: row["users"] for row in found} == pytest.approx(dict(expected))


def test_a_bound_may_be_a_datetime(connection, logs):
    table = read_table(
        connection, logs.events_table([logs.event(1, ts=0), logs.event(2, ts=DAY), logs.event(3, ts=2 * DAY)])
    )
    start = datetime(1970, 1, 2, tzinfo=UTC)
    assert logs.run(relations.item_counts(table, start=start, end=start + timedelta(days=1)))[0]["views"] == 1


def timelines_by_hand(rows, kinds, limit):
    """user -> [(item, ts, event_id)], newest first, every item once; user -> country of the newest."""
    newest_first = sorted(
        (row for row in rows if row["kind"] in kinds), key=lambda r: (r["ts"], r["event_id"]), reverse=True
    )
    timelines, countries = defaultdict(list), {}
    for row in newest_first:
        countries.setdefault(row["user_id"], row["country"])
        if row["item_id"] not in [item for item, _, _ in timelines[row["user_id"]]]:
            timelines[row["user_id"]].append((row["item_id"], row["ts"], row["event_id"]))
    return {user: items[:limit] for user, items in timelines.items()}, countries


@pytest.mark.parametrize("limit", [1, 3, 50])
def test_timelines_hold_the_newest_distinct_items(connection, limit, logs):
    rows, _ = logs.random_log(2)
    kinds = ("view", "click")
    expected, countries = timelines_by_hand(rows, kinds, limit)
    table = read_table(connection, logs.events_table(rows))
    found = logs.run(relations.user_timelines(table, kinds, limit), "user_id", "age")
    by_user = defaultdict(list)
    for row in found:
        assert row["country"] == countries[row["user_id"]]
        assert row["age"] == len(by_user[row["user_id"]])
        by_user[row["user_id"]].append((row["item_id"], row["ts"], row["event_id"]))
    assert by_user == expected
    for row in found:
        mine = [r for r in rows if (r["user_id"], r["item_id"]) == (row["user_id"], row["item_id"])]
        assert row["beyond_view"] == any(r["kind"] == "click" for r in mine)


def test_cooccurrences_count_timelines_that_hold_both_items(connection, logs):
    rows, _ = logs.random_log(3, 150)
    expected_timelines, countries = timelines_by_hand(rows, ("view",), 4)
    pairs = Counter()
    for user, items in expected_timelines.items():
        for one, _, _ in items:
            pairs.update((countries[user], one, other) for other, _, _ in items if one < other)
    timelines = relations.user_timelines(read_table(connection, logs.events_table(rows)), limit=4)
    found = logs.run(relations.cooccurrences(timelines))
    assert {(row["country"], row["item_i"], row["item_j"]): row["users"] for row in found} == pairs
    often = logs.run(relations.cooccurrences(timelines, at_least=2))
    assert {(r["country"], r["item_i"], r["item_j"]): r["users"] for r in often} == {
        p: n for p, n in pairs.items() if n > 1
    }


def test_items_may_be_positions(connection, logs):
    rows = [logs.event(1, item="a"), logs.event(2, item="b"), logs.event(3, item="b", user="u2")]
    table = logs.events_table(rows)
    positions = pa.array([10, 2, 2], pa.int32())
    table = table.set_column(table.schema.get_field_index("item_id"), "item_id", positions)
    found = logs.run(relations.cooccurrences(relations.user_timelines(read_table(connection, table))))
    assert found == [{"country": "FR", "item_i": 2, "item_j": 10, "users": 1}]


def test_no_events_make_empty_tables(connection, logs):
    events = read_table(connection, logs.events_table([]))
    clicks = attribution.banner_clicks(events)
    timelines = relations.user_timelines(events)
    tables = (relations.distinct_events(events), relations.item_counts(events), timelines)
    tables += (relations.cooccurrences(timelines), attribution.attributed_sales(events, clicks))
    assert [logs.run(table) for table in tables] == [[]] * 5
