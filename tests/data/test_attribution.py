"""Attribution and A/B aggregates on both engines, against slow, obvious references over dictionaries."""

from collections import Counter

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data import relations
from data.engine import connect, read_table
from data.schema import TIMESTAMP

DAY = 86_400_000_000


def earning_clicks(rows, days=30, same_item=False):
    """sale's event_id -> the rows of the clicks that it may belong to."""
    landed = {(row["user_id"], row["display_id"], row["item_id"]) for row in rows if row["kind"] == "landing"}
    key = ("user_id", "merchant_id", "item_id")[: 3 if same_item else 2]
    clicks = [
        row
        for row in rows
        if row["kind"] == "click"
        and row["display_id"] is not None
        and (row["user_id"], row["display_id"], row["item_id"]) in landed
    ]
    return {
        sale["event_id"]: [
            click
            for click in clicks
            if all(click[name] == sale[name] for name in key) and 0 <= sale["ts"] - click["ts"] <= days * DAY
        ]
        for sale in rows
        if sale["kind"] == "sale"
    }


def attribution_by_hand(rows, days=30, same_item=False):
    """sale's event_id -> the click's row, or None."""
    last = {}
    for sale, clicks in earning_clicks(rows, days, same_item).items():
        last[sale] = max(clicks, key=lambda row: (row["ts"], row["event_id"]), default=None)
    return last


@pytest.mark.parametrize(("days", "same_item"), [(7, True), (30, True), (7, False)])
def test_window_item_and_rule_are_parameters(connection, days, same_item, logs):
    rows, _ = logs.random_log(4, 600)
    events = read_table(connection, logs.events_table(rows))
    expected = attribution_by_hand(rows, days, same_item)
    assert any(expected.values())
    found = logs.run(relations.attributed_sales(events, days, same_item))
    assert {row["event_id"]: row["click_event_id"] for row in found} == {
        sale: click and click["event_id"] for sale, click in expected.items()
    }
    every = logs.run(relations.attributed_sales(events, days, same_item, rule="every click"))
    pairs = sorted((row["event_id"], row["click_event_id"] or "") for row in every)
    several = earning_clicks(rows, days, same_item)
    assert pairs == sorted(
        (sale, one) for sale, clicks in several.items() for one in [c["event_id"] for c in clicks] or [""]
    )


def test_what_earns_a_sale_may_be_given(connection, logs):
    rows = [logs.event(1, "click", ts=5, display="d1"), logs.event(2, "sale", ts=7 * DAY + 3)]
    events = read_table(connection, logs.events_table(rows))
    slots = pa.table(
        {"user_id": ["u1"], "merchant_id": ["m1"], "display_id": ["d1"], "item_id": ["i1"], "event_id": ["slot 0"]}
    )
    for shown, earned in ((3, "slot 0"), (2, None), (7 * DAY + 4, None)):
        at = slots.append_column("ts", pa.array([shown]).cast(TIMESTAMP))
        found = relations.attributed_sales(events, 7, True, "every click", read_table(connection, at))
        assert [row["click_event_id"] for row in logs.run(found)] == [earned]


@pytest.mark.parametrize("days", [1, 30])
def test_a_sale_belongs_to_the_last_landed_click_within_the_window(connection, days, logs):
    rows, _ = logs.random_log(4)
    expected = attribution_by_hand(rows, days)
    assert any(expected.values())
    assert not all(expected.values())
    found = logs.run(relations.attributed_sales(read_table(connection, logs.events_table(rows)), days))
    assert {row["event_id"]: row["click_event_id"] for row in found} == {
        sale: click and click["event_id"] for sale, click in expected.items()
    }
    for row in found:
        click = expected[row["event_id"]]
        if click:
            taken = (row["display_id"], row["clicked_item_id"], row["click_ts"])
            assert taken == (click["display_id"], click["item_id"], click["ts"])


def test_attribution_case_by_case(connection, logs):
    rows = [
        logs.event(1, "click", ts=10 * DAY, display="d1", item="a"),
        logs.event(2, "landing", ts=10 * DAY + 5, display="d1", item="a"),
        logs.event(3, "click", ts=11 * DAY, display="d2", item="b"),  # never landed
        logs.event(4, "sale", ts=12 * DAY, item="z"),  # to d1: the item need not be the clicked one
        logs.event(5, "sale", ts=40 * DAY, item="a"),  # to d1: the window's last moment
        logs.event(6, "sale", ts=40 * DAY + 1, item="a"),  # a microsecond late
        logs.event(7, "sale", ts=12 * DAY, item="a", merchant="m2"),  # another merchant
        logs.event(8, "sale", ts=12 * DAY, item="a", user="u2"),  # another user
        logs.event(9, "sale", ts=10 * DAY, item="a"),  # at the moment of the click
        logs.event(10, "sale", ts=10 * DAY - 1, item="a"),  # before it
        logs.event(11, "click", ts=50 * DAY, display="d1", item="a"),  # the same slot again, after the sales
    ]
    found = logs.run(relations.attributed_sales(read_table(connection, logs.events_table(rows))))
    assert {row["event_id"] for row in found if row["display_id"] == "d1"} == {"e4", "e5", "e9"}
    assert {row["click_event_id"] for row in found} == {"e1", None}


def test_a_second_click_on_a_slot_is_not_counted_again(connection, logs):
    rows = [
        logs.event(1, "click", ts=1, display="d1"),
        logs.event(2, "click", ts=2, display="d1"),
        logs.event(3, "click", ts=2, display="d1", item="i2"),
        logs.event(4, "landing", ts=3, display="d1"),
        logs.event(5, "click", ts=3),
    ]
    found = logs.run(relations.banner_clicks(read_table(connection, logs.events_table(rows))), "item_id")
    assert [(row["item_id"], row["event_id"], row["landed"]) for row in found] == [
        ("i1", "e2", True),
        ("i2", "e3", False),
    ]


def test_slots_come_out_one_by_one(connection, logs):
    found = logs.run(
        relations.shown_slots(read_table(connection, logs.displays_table([logs.display(1, items=("a", "b"))]))),
        "position",
    )
    assert [(row["display_id"], row["position"], row["item_id"]) for row in found] == [("d1", 0, "a"), ("d1", 1, "b")]
    assert list(found[0]["sources"]) == ["led", "gbo"]


def aggregates_by_hand(shown, rows):
    slots = {(d["display_id"], d["user_id"], d["merchant_id"], s["item_id"]) for d in shown for s in d["slots"]}
    unit_of = {d["display_id"]: (d["experiment"], d["population"], d["user_id"]) for d in shown}
    figures = {unit: Counter() for unit in unit_of.values()}
    for one in shown:
        figures[unit_of[one["display_id"]]].update(displays=1, slots=len(one["slots"]))
    on_slot = [
        row
        for row in rows
        if row["kind"] == "sale" or (row["display_id"], row["user_id"], row["merchant_id"], row["item_id"]) in slots
    ]
    clicked = {(row["display_id"], row["item_id"]) for row in on_slot if row["kind"] == "click"}
    landed = {(row["display_id"], row["item_id"]) for row in on_slot if row["kind"] == "landing"}
    for name, item in clicked:
        figures[unit_of[name]].update(clicks=1, landed_clicks=(name, item) in landed)
    values = {row["event_id"]: row["order_value"] for row in rows}
    for sale, click in attribution_by_hand(on_slot).items():
        if click:
            figures[unit_of[click["display_id"]]].update(sales=1, order_value=values[sale])
    return figures


FIGURES = ("displays", "slots", "clicks", "landed_clicks", "sales", "order_value")


@pytest.mark.parametrize("seed", [5, 6])
def test_user_aggregates_are_those_of_a_loop(connection, seed, logs):
    rows, shown = logs.random_log(seed)
    expected = aggregates_by_hand(shown, rows)
    displays, events = (
        read_table(connection, table) for table in (logs.displays_table(shown), logs.events_table(rows))
    )
    found = logs.run(relations.user_aggregates(displays, events))
    by_unit = {(row["experiment"], row["population"], row["user_id"]): row for row in found}
    assert by_unit.keys() == expected.keys()
    assert sum(row["sales"] for row in found) > 0
    for unit, row in by_unit.items():
        assert {name: row[name] for name in FIGURES} == {name: expected[unit][name] for name in FIGURES}


def test_a_click_that_names_another_users_display_counts_for_nobody(connection, logs):
    shown = [logs.display(1, "u1", items=("i1",)), logs.display(2, "u2", population="B", items=("i1",))]
    rows = [
        logs.event(1, "click", "u1", ts=1, display="d2"),
        logs.event(2, "landing", "u1", ts=2, display="d2"),
        logs.event(3, "sale", "u1", ts=3),
        logs.event(4, "click", "u1", item="not shown", ts=1, display="d1"),
    ]
    displays, events = (
        read_table(connection, table) for table in (logs.displays_table(shown), logs.events_table(rows))
    )
    found = logs.run(relations.user_aggregates(displays, events), "user_id")
    assert [(row["user_id"], row["clicks"], row["sales"], row["order_value"]) for row in found] == [
        ("u1", 0, 0, 0.0),
        ("u2", 0, 0, 0.0),
    ]


moments = st.integers(0, 4).map(lambda halves: halves * 15 * DAY)
little_events = st.lists(
    st.tuples(
        st.sampled_from(["click", "landing", "sale"]), moments, st.sampled_from("ab"), st.sampled_from(["d1", "d2"])
    ),
    max_size=12,
)


@settings(max_examples=40, deadline=None)
@given(drawn=little_events)
def test_attribution_is_the_loops_whatever_the_order_of_ties(drawn, logs):
    rows = [
        logs.event(number, kind, item=item, ts=ts, display=None if kind == "sale" else name)
        for number, (kind, ts, item, name) in enumerate(drawn)
    ]
    found = logs.run(relations.attributed_sales(read_table(connect("duckdb", threads=1), logs.events_table(rows))))
    expected = attribution_by_hand(rows)
    assert {row["event_id"]: row["click_event_id"] for row in found} == {
        sale: click and click["event_id"] for sale, click in expected.items()
    }
