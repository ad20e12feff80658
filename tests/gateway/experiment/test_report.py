"""The report's figures from logs: against a plain reading of the same rows, and on logs with something wrong."""

import json
from collections import defaultdict
from datetime import date, timedelta

import numpy as np
import pyarrow as pa
import pytest

from data.errors import TandemError
from gateway.experiment import aggregates
from gateway.experiment.build import build_report
from gateway.experiment.exports import report_figures
from gateway.experiment.model import METRICS, ReportError, printable
from gateway.experiment.statistics.moments import NotEstimable
from gateway.experiment.tables import print_report
from gateway.experiment.window import open_window
from tests.support.gateway.log_rows import REAL, START, display, event, report_of, slot, tables

SOURCES = {"A": ("gbo",), "B": ("gbo", "cbo"), "C": ("gbo", "cbo", "led")}


def random_rows(seed):
    """Few users, items and hours, so that ties, repeats and late sales happen."""
    random = np.random.default_rng(seed)
    populations = {f"u{user}": "ABC"[random.integers(3)] for user in range(8)}
    displays, events = [], []
    for number in range(60):
        user = f"u{random.integers(8)}"
        allowed = SOURCES[populations[user]]
        slots = [
            slot(place, f"i{item}", [one for one in allowed if random.random() < 0.6] or allowed[:1])
            for place, item in enumerate(random.choice(6, 3, replace=False))
        ]
        merchant = f"m{random.integers(2)}"
        made = display(f"d{number}", user, populations[user], random.integers(0, 1000), slots, merchant_id=merchant)
        displays.append(made)
        hours = (made["ts"] - START) / timedelta(hours=1)
        if random.random() < 0.7:
            item = slots[random.integers(3)]["item_id"]
            clicked = hours + random.integers(0, 3)
            events.append(event(f"c{number}", "click", user, clicked, item, made["display_id"], merchant=merchant))
            if random.random() < 0.7:
                events.append(event(f"l{number}", "landing", user, clicked, item, made["display_id"], None, merchant))
        if random.random() < 0.6:
            bought = hours + random.integers(0, 900)
            value = float(random.integers(1, 50))
            events.append(event(f"s{number}", "sale", user, bought, "i0", None, value, merchant))
    return displays, events


def read_plainly(displays, events):
    """user -> [landed clicks, sales, order value], and (day, population) -> sales, by loops over the rows."""
    owner = {row["display_id"]: row for row in displays}
    landings = {(row["user_id"], row["display_id"], row["item_id"]) for row in events if row["kind"] == "landing"}
    clicks = [row for row in events if row["kind"] == "click"]
    landed = [row for row in clicks if (row["user_id"], row["display_id"], row["item_id"]) in landings]
    figures, days = defaultdict(lambda: [0, 0, 0.0]), defaultdict(int)
    for click in landed:
        figures[click["user_id"]][0] += 1
    for sale in (row for row in events if row["kind"] == "sale"):
        before = [
            (click["ts"], click["event_id"], click)
            for click in clicks
            if (click["user_id"], click["merchant_id"]) == (sale["user_id"], sale["merchant_id"])
            and click["ts"] <= sale["ts"]
        ]
        if before:
            ts, _, click = max(before, key=lambda one: one[:2])
            if sale["ts"] - ts <= timedelta(days=30):
                figures[sale["user_id"]][1] += 1
                figures[sale["user_id"]][2] += sale["order_value"]
                days[sale["ts"].date(), owner[click["display_id"]]["population"]] += 1
    return figures, days


@pytest.mark.parametrize("seed", range(4))
def test_the_figures_per_user_and_day_are_those_of_a_plain_reading(seed):
    displays, events = random_rows(seed)
    figures, days = read_plainly(displays, events)
    window = open_window(*tables(displays, events))
    for row in aggregates.per_user(window).to_pylist():
        assert [row[metric.key] for metric in METRICS] == figures[row["user_id"]]
        assert row["displays"] == sum(one["user_id"] == row["user_id"] for one in displays)
    shown = aggregates.served(window, START)
    found = {
        (day.day, day.population): day.sales for day in aggregates.sales_per_day(window, shown, START) if day.sales
    }
    assert found == days


def test_source_shares_are_those_of_a_plain_reading_and_add_up():
    displays, events = random_rows(7)
    found = build_report(*tables(displays, events), None, REAL).source_shares
    for population in "ABC":
        slots = [one["sources"] for row in displays if row["population"] == population for one in row["slots"]]
        mine = {share.source: share for share in found if share.population == population}
        assert sum(share.split for share in mine.values()) == pytest.approx(1)
        for source, share in mine.items():
            assert share.split == pytest.approx(sum((source in one) / len(one) for one in slots) / len(slots))
            assert share.proposed == pytest.approx(sum(source in one for one in slots) / len(slots))
            assert share.alone == pytest.approx(sum(list(one) == [source] for one in slots) / len(slots))


def test_rows_that_were_written_twice_count_once():
    displays, events = random_rows(1)
    once, twice = (report_figures(report_of(displays * times, events * times)) for times in (1, 2))
    shares = [[share.pop("split") for share in figures["source_shares"]] for figures in (once, twice)]
    assert shares[0] == pytest.approx(shares[1])  # sums of thirds depend on the order of rows
    assert once == twice


def test_a_user_with_two_populations_is_left_out_and_reported():
    rows = [display("d0", "u0"), display("d1", "u1", "B"), display("d2", "u2", "A"), display("d3", "u2", "B")]
    clicks = [event("c", "click", "u2", shown="d2"), event("l", "landing", "u2", shown="d2")]
    found = report_of(rows, clicks)
    assert [one.users for one in found.populations] == [1, 1]
    assert all(one.totals["landed_clicks"] == 0 for one in found.populations)
    check = next(check for check in found.checks if check.name == "Populations mixed")
    assert check.status == "alarm" and "left out: 1" in check.sentence


def test_a_user_may_be_in_another_population_of_another_experiment():
    rows = [display("d0", "u0"), display("d1", "u0", "B", experiment="other"), display("d2", "u1", "B")]
    found = report_of(rows, experiment="launch")
    assert [one.users for one in found.populations] == [1, 1]


def test_displays_without_a_user_id_are_not_one_great_user():
    found = report_of([display("d0", "u0"), display("d1", "", "B"), display("d2", "", "B")])
    assert [(one.name, one.users) for one in found.populations] == [("A", 1), ("B", 0)]
    assert any(check.name == "Unnamed users" for check in found.checks)


@pytest.mark.parametrize(
    "stray",
    [
        {"shown": "nowhere"},
        {"item": "not-shown"},
        {"user": "somebody-else"},
        {"shown": None},
    ],
)
def test_a_click_that_no_display_explains_earns_nothing(stray):
    about = {"user": "u0", "item": "i0", "shown": "d0"} | stray
    events = [event(kind[0], kind, **about) for kind in ("click", "landing")]
    events.append(event("s", "sale", about["user"], 2.0, value=10.0))
    found = report_of([display("d0", "u0")], events)
    assert found.populations[0].totals == {"landed_clicks": 0, "sales": 0, "order_value": 0}


def test_a_click_that_never_reached_the_page_is_not_landed():
    found = report_of([display("d0", "u0")], [event("c", "click", "u0", shown="d0")])
    assert found.populations[0].totals["landed_clicks"] == 0


def test_a_window_counts_its_displays_and_what_follows_from_them():
    rows = [display("d0", "u0", hours=0), display("d1", "u0", hours=48)]
    events = [
        event(f"{kind}{one}", kind, "u0", 49 + one, shown=f"d{one}") for one in (0, 1) for kind in ("click", "landing")
    ]
    first = report_of(rows, events, until=START + timedelta(hours=24))
    second = report_of(rows, events, since=START + timedelta(hours=24))
    assert [one.populations[0].displays for one in (first, second)] == [1, 1]
    assert [one.populations[0].totals["landed_clicks"] for one in (first, second)] == [1, 1]


def test_every_day_of_the_window_is_there_also_without_a_sale():
    found = report_of([display("d0", "u0"), display("d1", "u1", "B", hours=24 * 3)])
    assert [(day.day, day.population) for day in found.days] == [
        (date(2026, 3, number), population) for number in (1, 2, 3, 4) for population in "AB"
    ]


def test_days_are_open_until_their_displays_can_earn_no_more():
    later = event("s", "sale", "u0", 24 * 31.5, value=1.0)
    found = report_of([display("d0", "u0"), display("d1", "u1", hours=24 * 5)], [later])
    assert [day.open for day in found.days] == [False, True, True, True, True, True]
    assert next(check.sentence for check in found.checks if check.name == "Maturity").startswith("50%")


def test_what_failed_open_is_counted_by_population():
    late = display("d0", "u0", "B", degraded=["led: late", "ranker: late"])
    found = report_of([late, display("d1", "u1", "B", degraded=["led: late"]), display("d2", "u2")])
    assert found.degraded == {"any": {"B": 2}, "led: late": {"B": 2}, "ranker: late": {"B": 1}}
    assert {one.name: one.degraded for one in found.populations} == {"A": 0, "B": 2}


def test_latency_is_the_percentile_of_each_stage_and_of_their_sum():
    rows = [display(f"d{one}", "u0", stage_us=[("rank", one), ("pool", 9 * one)]) for one in range(101)]
    found = report_of([*rows, display("d", "u0", stage_us=[])]).latency
    assert [(stage.stage, stage.displays, stage.p50_us, stage.p99_us) for stage in found] == [
        ("rank", 101, 50, 99),
        ("pool", 101, 450, 891),
        ("total", 101, 500, 990),
    ]


def test_configurations_and_bundles_are_listed_as_they_came():
    rows = [display("d0", "u0", bundle_version="b9"), display("d1", "u1", hours=2, bundle_version="b1")]
    found = report_of([*rows, display("d2", "u2", hours=1, config_hash="c1")])
    assert [one.name for one in found.bundles] == ["b9", "b0", "b1"]
    assert next(check.status for check in found.checks if check.name == "Configuration") == "look"


def test_popularity_weighs_a_slot_by_its_sources():
    slots = [slot(0, "hit", ["gbo"]), slot(1, "hit", ["gbo", "led"]), slot(2, "rare", ["led"])]
    views = pa.table({"item_id": ["hit", "other"], "views": [900, 5]})
    found = build_report(*tables([display("d0", "u0", slots=slots)]), views, REAL)
    gbo, led = found.popularity
    assert (gbo.slots, gbo.mean_views, gbo.unseen) == (1.5, 900, 0)
    assert (led.slots, led.mean_views, led.unseen) == (1.5, 300, pytest.approx(2 / 3))
    assert sum(gbo.histogram) == pytest.approx(1) and sum(led.histogram) == pytest.approx(1)


def test_a_slot_that_names_no_source_is_shown_as_such():
    found = report_of([display("d0", "u0", slots=[slot(0, "i0", [])])])
    assert [(one.source, one.split) for one in found.source_shares] == [("(none)", 1.0)]


def test_banners_without_slots_are_reported():
    found = report_of([display("d0", "u0", slots=[]), display("d1", "u1", "B")])
    assert "1 had no slot" in next(check.sentence for check in found.checks if check.name == "Degraded")


def test_shares_put_populations_without_users_into_the_report_and_alarm():
    rows = [display(f"d{one}", f"u{one}") for one in range(100)]
    found = report_of(rows, shares={"A": 0.5, "B": 0.5})
    assert [(one.name, one.users) for one in found.populations] == [("A", 100), ("B", 0)]
    assert found.checks[0].status == "alarm"
    assert all(isinstance(one.uplift, NotEstimable) for one in found.comparisons)


def test_displays_that_one_population_loses_are_an_alarm():
    rows = [display(f"{one}-{k}", f"u{one}", "AB"[one % 2]) for one in range(200) for k in range(3 - one % 2 + one % 3)]
    assert next(check.status for check in report_of(rows).checks if check.name == "Exposure") == "alarm"


def test_truth_stands_beside_the_estimate():
    truth = {"A": {"sales": 0.2}, "B": {"sales": 0.3}, "C": {"sales": 0.5}}
    rows = [display(f"d{one}", f"u{one}", "ABC"[one]) for one in range(3)]
    found = {(one.metric, one.population): one for one in report_of(rows, truth=truth).comparisons}
    assert found["sales", "B"].true_uplift == pytest.approx(0.5)
    assert found["sales", "C"].true_normalised == pytest.approx(3)
    assert found["landed_clicks", "B"].true_uplift is None


def test_an_empty_log_is_said_in_a_sentence():
    with pytest.raises(ReportError, match="no display yet"):
        report_of([])


def test_a_choice_that_the_log_does_not_hold_is_said_with_what_it_holds():
    rows = [display("d0", "u0"), display("d1", "u1", experiment="other")]
    with pytest.raises(ReportError, match="it holds 'launch', 'other'"):
        report_of(rows, experiment="lunch")
    with pytest.raises(ReportError, match="expected one of 'A'"):
        report_of(rows, experiment="launch", baseline="Z")
    with pytest.raises(ReportError, match="no display between"):
        report_of(rows, experiment="launch", since=START + timedelta(days=9))
    assert issubclass(ReportError, TandemError)


def test_figures_are_json_without_nan():
    text = json.dumps(report_figures(report_of([display("d0", "u0")])), allow_nan=False)
    assert json.loads(text)["populations"][0]["displays"] == 1


def test_the_terminal_shows_ids_as_they_are_not_as_markup(capsys):
    evil = "[red]x[/red]\x1b[2J"
    print_report(report_of([display("d0", "u0", evil, experiment="[/]")], baseline=evil))
    shown = capsys.readouterr().out
    assert "\x1b[2J" not in shown
    assert "[red]x[/red]" in shown and "[/]" in shown


def test_ids_are_cut_and_cleaned_before_they_are_shown():
    assert printable("a\x00\u202eb") == "a\ufffd\ufffdb"
    assert printable("x" * 100) == "x" * 47 + "…"
