"""Attribution on both engines, against slow, obvious references over dictionaries."""

from collections import Counter, defaultdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data import attribution, relations
from data.attribution import Attribution
from data.engine import connect, read_table

DAY = 86_400_000_000


def attribution_by_hand(rows, days=30, same_item=False, landed_only=False):
    """sale's event_id -> the row of the click that earned it, or None."""
    slot = ("user_id", "merchant_id", "display_id", "item_id")
    landed = {tuple(row[name] for name in slot) for row in rows if row["kind"] == "landing"}
    key = ("user_id", "merchant_id", "item_id")[: 3 if same_item else 2]
    clicks = [
        row
        for row in rows
        if row["kind"] == "click"
        and row["display_id"] is not None
        and (not landed_only or tuple(row[name] for name in slot) in landed)
    ]
    last = {}
    for sale in (row for row in rows if row["kind"] == "sale"):
        before = [row for row in clicks if all(row[n] == sale[n] for n in key) and row["ts"] <= sale["ts"]]
        click = max(before, key=lambda row: (row["ts"], row["event_id"]), default=None)
        last[sale["event_id"]] = click if click and sale["ts"] - click["ts"] <= days * DAY else None
    return last


def attributed(events, **parameters):
    return attribution.attributed_sales(events, attribution.banner_clicks(events), Attribution(**parameters))


@pytest.mark.parametrize("days", [1, 30])
@pytest.mark.parametrize("same_item", [True, False])
@pytest.mark.parametrize("to", ["last clicked", "last landed"])
def test_a_sale_belongs_to_one_click_at_most_whatever_the_parameters(connection, days, same_item, to, logs):
    rows, _ = logs.random_log(4)
    expected = attribution_by_hand(rows, days, same_item, to == "last landed")
    assert any(expected.values()) and not all(expected.values())
    found = logs.run(
        attributed(read_table(connection, logs.events_table(rows)), window_days=days, same_item=same_item, to=to)
    )
    assert len(found) == len(expected)
    assert {row["event_id"]: row["click_event_id"] for row in found} == {
        sale: click and click["event_id"] for sale, click in expected.items()
    }
    for row in found:
        click = expected[row["event_id"]]
        if click:
            taken = (row["display_id"], row["clicked_item_id"], row["click_ts"])
            assert taken == (click["display_id"], click["item_id"], click["ts"])


def test_the_default_is_the_papers_rule():
    assert Attribution() == Attribution(window_days=30, same_item=False, to="last clicked")


def test_attribution_case_by_case(connection, logs):
    rows = [
        logs.event(1, "click", ts=10 * DAY, display="d1", item="a"),
        logs.event(2, "landing", ts=10 * DAY + 5, display="d1", item="a"),
        logs.event(4, "sale", ts=12 * DAY, item="z"),  # to d1: the item need not be the clicked one
        logs.event(5, "sale", ts=40 * DAY, item="a"),  # to d1: the window's last moment
        logs.event(6, "sale", ts=40 * DAY + 1, item="a"),  # a microsecond late
        logs.event(7, "sale", ts=12 * DAY, item="a", merchant="m2"),  # another merchant
        logs.event(8, "sale", ts=12 * DAY, item="a", user="u2"),  # another user
        logs.event(9, "sale", ts=10 * DAY, item="a"),  # at the moment of the click
        logs.event(10, "sale", ts=10 * DAY - 1, item="a"),  # before it
        logs.event(11, "click", ts=50 * DAY, display="d1", item="a"),  # the same slot again, after the sales
    ]
    found = logs.run(attributed(read_table(connection, logs.events_table(rows))))
    assert {row["event_id"] for row in found if row["display_id"] == "d1"} == {"e4", "e5", "e9"}
    assert {row["click_event_id"] for row in found} == {"e1", None}


@pytest.mark.parametrize(("to", "earned"), [("last clicked", "e3"), ("last landed", "e1")])
def test_whether_a_click_must_land_to_earn_a_sale_is_a_parameter(connection, to, earned, logs):
    rows = [
        logs.event(1, "click", ts=1, display="d1", item="a"),
        logs.event(2, "landing", ts=2, display="d1", item="a"),
        logs.event(3, "click", ts=3, display="d2", item="b"),  # never landed
        logs.event(4, "sale", ts=4, item="a"),
    ]
    found = logs.run(attributed(read_table(connection, logs.events_table(rows)), to=to))
    assert [row["click_event_id"] for row in found] == [earned]


def test_a_second_click_on_a_slot_is_not_counted_again(connection, logs):
    rows = [
        logs.event(1, "click", ts=1, display="d1"),
        logs.event(2, "click", ts=2, display="d1"),
        logs.event(3, "click", ts=2, display="d1", item="i2"),
        logs.event(4, "landing", ts=3, display="d1"),
        logs.event(5, "click", ts=3),
    ]
    found = logs.run(
        attribution.clicked_slots(attribution.banner_clicks(read_table(connection, logs.events_table(rows)))), "item_id"
    )
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


def outcomes_by_hand(shown, rows):
    slots = {(d["user_id"], d["merchant_id"], d["display_id"], s["item_id"]) for d in shown for s in d["slots"]}
    unit_of = {d["display_id"]: (d["experiment"], d["population"], d["user_id"]) for d in shown}
    figures = defaultdict(Counter)
    on_slot = [
        row
        for row in rows
        if row["kind"] == "sale" or (row["user_id"], row["merchant_id"], row["display_id"], row["item_id"]) in slots
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


FIGURES = ("clicks", "landed_clicks", "sales", "order_value")


def outcomes(connection, logs, shown, rows):
    """`user_outcomes` of a log of displays and events."""
    displays, events = (
        read_table(connection, table) for table in (logs.displays_table(shown), logs.events_table(rows))
    )
    about = relations.shown_slots(displays).select(*attribution.SLOT, "experiment", "population")
    clicks = attribution.banner_clicks(events, about)
    return logs.run(attribution.user_outcomes(clicks, attribution.attributed_sales(events, clicks)), "user_id")


@pytest.mark.parametrize("seed", [5, 6])
def test_user_outcomes_are_those_of_a_loop(connection, seed, logs):
    rows, shown = logs.random_log(seed)
    expected = outcomes_by_hand(shown, rows)
    found = outcomes(connection, logs, shown, rows)
    by_unit = {(row["experiment"], row["population"], row["user_id"]): row for row in found}
    assert by_unit.keys() == expected.keys()
    assert sum(row["sales"] for row in found) > 0
    for unit, row in by_unit.items():
        assert {name: row[name] for name in FIGURES} == {name: expected[unit][name] for name in FIGURES}


@pytest.mark.parametrize("wrong", [{"user": "u1", "display": "d2"}, {"item": "not shown"}, {"merchant": "m2"}])
def test_a_click_on_what_its_display_did_not_show_to_that_user_counts_for_nobody(connection, wrong, logs):
    shown = [logs.display(1, "u1", items=("i1",)), logs.display(2, "u2", population="B", items=("i1",))]
    about = {"user": "u1", "display": "d1", "item": "i1", "merchant": "m1"} | wrong
    rows = [
        logs.event(1, "click", ts=1, **about),
        logs.event(2, "landing", ts=2, **about),
        logs.event(3, "sale", about["user"], ts=3, merchant=about["merchant"]),
    ]
    assert outcomes(connection, logs, shown, rows) == []


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
    found = logs.run(attributed(read_table(connect("duckdb", threads=1), logs.events_table(rows))))
    expected = attribution_by_hand(rows)
    assert {row["event_id"]: row["click_event_id"] for row in found} == {
        sale: click and click["event_id"] for sale, click in expected.items()
    }
