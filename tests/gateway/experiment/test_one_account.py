"""One account of a sale: over experiments, windows, users and days, each sale counts once or not at all."""

from datetime import timedelta
from itertools import pairwise

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.attribution import Attribution
from data.eventlog import EventLogError, logged_displays, logged_events
from data.schema import DISPLAY_SCHEMA, EVENT_SCHEMA
from gateway.experiment import aggregates
from gateway.experiment.window import open_window
from tests.conftest import SHARED
from tests.support.gateway.log_rows import START, display, event, report_of, slot, tables

EXPERIMENTS = {"one": "AB", "two": "XY"}
OUTCOMES = ("displays", "landed_clicks", "sales", "order_value")

hours = st.integers(0, 8).map(lambda place: place * 24 * 5)  # so that all kinds of moments coincide
shown_rows = st.lists(st.tuples(st.sampled_from(["one", "two"]), st.integers(0, 3), hours), min_size=1, max_size=10)
event_rows = st.lists(
    st.tuples(st.sampled_from(["click", "landing", "sale"]), st.integers(0, 3), hours, st.integers(0, 9)), max_size=24
)


def log_of(shown, happened):
    displays = [
        display(f"d{number}", f"u{user}", EXPERIMENTS[name][user % 2], at, experiment=name)
        for number, (name, user, at) in enumerate(shown)
    ]
    events = [
        event(f"e{number}", kind, f"u{user}", at, shown=None if kind == "sale" else f"d{place}", value=2.0)
        for number, (kind, user, at, place) in enumerate(happened)
    ]
    return displays, events


def sums(users):
    return {name: sum(users[name].to_pylist()) for name in OUTCOMES}


def earners(displays, events):
    """sale's event_id -> the display that earned it, by loops."""
    of_user = {row["display_id"]: row["user_id"] for row in displays}
    clicks = [row for row in events if row["kind"] == "click" and of_user.get(row["display_id"]) == row["user_id"]]
    found = {}
    for sale in (row for row in events if row["kind"] == "sale"):
        before = [row for row in clicks if row["user_id"] == sale["user_id"] and row["ts"] <= sale["ts"]]
        last = max(before, key=lambda row: (row["ts"], row["event_id"]), default=None)
        if last and sale["ts"] - last["ts"] <= timedelta(days=30):
            found[sale["event_id"]] = last["display_id"]
    return found


@settings(max_examples=4, deadline=None)
@given(shown=shown_rows, happened=event_rows, cuts=st.lists(hours, min_size=1, max_size=2))
def test_sales_are_neither_made_nor_lost_nor_doubled_by_experiments_windows_users_and_days(shown, happened, cuts):
    displays, events = log_of(shown, happened)
    expected = earners(displays, events)
    experiment_of = {row["display_id"]: row["experiment"] for row in displays}
    edges = [None, *(START + timedelta(hours=cut) for cut in sorted(cuts)), None]
    for name in {row["experiment"] for row in displays}:
        window = open_window(*tables(displays, events), name)
        whole = sums(aggregates.per_user(window))
        assert whole["sales"] == sum(experiment_of[one] == name for one in expected.values())
        days = aggregates.sales_per_day(window, aggregates.served(window, START), START)
        assert sum(day.sales for day in days) == whole["sales"]
        assert sum(day.order_value for day in days) == whole["order_value"]
        assert sum(day.displays for day in days) == whole["displays"]
        parts = [
            sums(aggregates.per_user(open_window(*tables(displays, events), name, since, until)))
            for since, until in pairwise(edges)
        ]
        assert {figure: sum(part[figure] for part in parts) for figure in OUTCOMES} == whole


def test_a_sale_counts_in_the_window_of_the_display_that_earned_it():
    rows = [display("d1", "u0", hours=0), display("d2", "u0", hours=240)]
    events = [
        event(f"{kind}{at}", kind, "u0", at + 1, shown=name)
        for name, at in (("d1", 0), ("d2", 240))
        for kind in ("click", "landing")
    ]
    events.append(event("s", "sale", "u0", 264, value=100.0))
    cut = START + timedelta(days=5)
    before, after = report_of(rows, events, until=cut), report_of(rows, events, since=cut)
    assert [one.populations[0].totals["sales"] for one in (before, after)] == [0, 1]
    assert [sum(day.sales for day in one.days) for one in (before, after)] == [0, 1]


def test_a_sale_belongs_to_one_experiment():
    rows = [display("d1", "u0", experiment="one"), display("d2", "u0", "X", hours=5, experiment="two")]
    events = [event("c1", "click", "u0", 1, shown="d1"), event("c2", "click", "u0", 6, shown="d2")]
    events.append(event("s", "sale", "u0", 7, value=9.0))
    found = [report_of(rows, events, experiment=name).populations[0].totals["sales"] for name in ("one", "two")]
    assert found == [0, 1]


def test_which_click_earns_a_sale_is_a_setting():
    rows = [display("d1", "u0"), display("d2", "u1", "B"), display("d3", "u0", hours=5, experiment="other")]
    events = [event("c1", "click", "u0", 1, shown="d1"), event("l1", "landing", "u0", 1, shown="d1")]
    events += [event("c3", "click", "u0", 6, shown="d3"), event("s", "sale", "u0", 24 * 9, value=1.0)]
    chosen = {"experiment": "launch"}
    assert report_of(rows, events, **chosen).populations[0].totals["sales"] == 0
    for attribution, sales in ((Attribution(to="last landed"), 1), (Attribution(to="last landed", window_days=7), 0)):
        found = report_of(rows, events, attribution=attribution, **chosen)
        assert found.populations[0].totals["sales"] == sales


def test_the_largest_experiment_is_reported_and_the_others_are_named():
    rows = [display("d0", "u0", experiment="small"), display("d1", "u1"), display("d2", "u2", "B")]
    found = report_of(rows)
    assert found.experiment == "launch"
    assert [(one.experiment, one.displays) for one in found.logged] == [("launch", 2), ("small", 1)]


def test_a_user_who_was_in_another_population_before_the_window_is_left_out_and_seen():
    rows = [display("d0", "u0", "A", 0), display("d1", "u0", "B", 48), display("d2", "u1", "B", 48)]
    found = report_of(rows, since=START + timedelta(hours=24))
    assert [(one.name, one.users) for one in found.populations] == [("B", 1)]
    assert next(check for check in found.checks if check.name == "Populations mixed").status == "alarm"


def test_a_window_that_starts_in_mid_test_does_not_blame_the_split():
    """1,000 users each, of whom B's come back half as often: the split was fair, the window's users are chosen."""
    rows = [display(f"d{user}", f"u{user}", "AB"[user % 2]) for user in range(2000)]
    rows += [display(f"e{user}", f"u{user}", "AB"[user % 2], 48) for user in range(2000) if user % 4 != 1]
    found = report_of(rows, shares={"A": 0.5, "B": 0.5}, since=START + timedelta(hours=24))
    checks = {check.name: check for check in found.checks}
    assert checks["Sample ratio"].status == "ok"
    assert checks["Window"].status == "look" and "1,500 of 1,500 users" in checks["Window"].sentence
    whole = report_of(rows, shares={"A": 0.5, "B": 0.5})
    assert not any(check.name == "Window" for check in whole.checks)


def test_a_click_that_names_another_merchant_is_stray():
    found = report_of([display("d0", "u0")], [event("c", "click", "u0", shown="d0", merchant="elsewhere")])
    assert next(check for check in found.checks if check.name == "Stray clicks").status == "look"
    assert found.populations[0].totals["landed_clicks"] == 0


def test_a_log_of_many_files_is_read_as_one(tmp_path):
    rows = [
        display(f"d{n}", f"u{n}", slots=[slot(0, "i0", ["gbo", "led"]), slot(1, f"i{n}", ["led"])]) for n in range(9)
    ]
    events = [event(f"c{n}", "click", f"u{n}", 1, shown=f"d{n}") for n in range(9)]
    displays, tracked = tables(rows, events)
    for part, table in (("displays", displays), ("tracked", tracked)):
        for number, rows_of_file in enumerate((table.slice(0, 5), table.slice(4))):  # one row lies in both
            folder = tmp_path / part / f"2026030{number}"
            folder.mkdir(parents=True)
            pq.write_table(rows_of_file, folder / f"{number}.parquet", write_page_checksum=True)
    lazy = [logged_displays(tmp_path), logged_events(tmp_path)]
    one, other = open_window(*lazy), open_window(displays, tracked)
    assert aggregates.per_user(one).equals(aggregates.per_user(other))
    assert aggregates.source_shares(one) == aggregates.source_shares(other)


def test_a_damaged_segment_is_named(tmp_path):
    for part, schema in (("displays", DISPLAY_SCHEMA), ("tracked", EVENT_SCHEMA)):
        (tmp_path / part / "2026030100").mkdir(parents=True)
        rows = [display(f"d{n}", f"u{n}") for n in range(99)] if part == "displays" else []
        pq.write_table(
            pa.Table.from_pylist(rows, schema),
            tmp_path / part / "2026030100" / "a.parquet",
            write_page_checksum=True,
        )
    path = tmp_path / "displays" / "2026030100" / "a.parquet"
    content = bytearray(path.read_bytes())
    content[60] ^= 255
    path.write_bytes(content)
    with pytest.raises(EventLogError, match=r"a\.parquet: expected a Parquet segment of the log"):
        aggregates.per_user(open_window(logged_displays(tmp_path), logged_events(tmp_path)))


CASES = SHARED.parent / "cases"


@pytest.mark.skipif(not CASES.is_dir(), reason="needs the collection of small inputs")
def test_the_collected_cases_come_out_right():
    def sales(case, **chosen):
        log = CASES / case / "w" / "log"
        users = aggregates.per_user(open_window(logged_displays(log), logged_events(log), **chosen))
        return sum(users["sales"].to_pylist())

    assert [sales("report-two-experiments", experiment=name) for name in ("one", "two")] == [0, 1]
    cut = START.replace(day=6)
    assert [sales("report-window", until=cut), sales("report-window", since=cut)] == [0, 1]
