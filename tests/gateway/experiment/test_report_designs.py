"""Windows per user, surfaces, planned looks, the days' uplift, sources' overlap, and checks against other tests."""

from datetime import timedelta

import numpy as np
import pyarrow as pa
import pytest

from data.attribution import Attribution
from data.workspace import Workspace
from gateway.experiment import aggregates
from gateway.experiment.comparisons import ACTIVITY, Intervals
from gateway.experiment.model import ReportError
from gateway.experiment.reports import kept_attribution
from gateway.experiment.statistics.moments import NotEstimable
from gateway.experiment.tables import print_report
from gateway.experiment.window import open_window
from tests.support.gateway.log_rows import START, display, event, report_of, shop, slot, tables

DAY = 24


def sale(name, user, at, value=1.0):
    return event(name, "sale", user, at, value=value)


def test_the_first_days_of_every_user_count_and_only_those_that_are_over():
    displays = [
        display("a0", "early", hours=0), display("a1", "early", hours=5 * DAY),
        display("b0", "late", hours=3 * DAY), display("c0", "new", hours=9 * DAY),
    ]  # fmt: skip
    events = [event("c", "click", "early", 1, shown="a0"), event("l", "landing", "early", 1, shown="a0")]
    events += [sale("s1", "early", 1.5 * DAY), sale("s2", "early", 4 * DAY), sale("s3", "late", 4 * DAY)]
    events.append(event("x", "click", "early", 5 * DAY + 1, shown="a1"))
    window = open_window(*tables(displays, events), first_days=2)
    users = aggregates.per_user(window).to_pylist()
    assert [(row["user_id"], row["displays"], row["sales"], row["landed_clicks"]) for row in users] == [
        ("early", 1, 1, 1),  # its second display and its later sale are outside its two days
        ("late", 1, 0, 0),
    ]  # "new" has not had two days yet
    found = report_of(displays, events, first_days=2)
    check = next(one for one in found.checks if one.name == "Maturity")
    assert check.status == "ok" and "first 2 days of 2 users are over" in check.sentence
    chosen = open_window(*tables(displays, events), first_days=2, since=START + timedelta(days=1))
    assert aggregates.per_user(chosen)["user_id"].to_pylist() == ["late"]  # by the first display, which none chose


def test_the_sum_of_first_days_does_not_grow_when_the_log_does():
    """A user's figure is fixed once their days are over: looking again later finds the same."""
    rows = shop({"A": 0.3, "B": 0.3, "C": 0.3}, users=60)
    later = [display(f"again{user}", f"u{user}", "ABC"[user % 3], 400) for user in range(60)]
    more = [event(f"again-{kind}{user}", kind, f"u{user}", 401, shown=f"again{user}")
            for user in range(60) for kind in ("click", "landing")]  # fmt: skip
    before = aggregates.per_user(open_window(*tables(*rows), first_days=3)).to_pylist()
    after = aggregates.per_user(open_window(*tables(rows[0] + later, rows[1] + more), first_days=3)).to_pylist()
    known = {row["user_id"]: row for row in after}
    assert before and all(known[row["user_id"]] == row for row in before)


def test_banners_alone_count_unless_another_surface_is_asked_for():
    displays = [display("b", "u0"), display("s", "u0", hours=1, surface="similar"), display("old", "u1", surface=None)]
    events = [event(f"{kind}-{shown}", kind, "u0", 2, shown=shown) for shown in "bs" for kind in ("click", "landing")]
    assert [report_of(displays, events, surface=one).populations[0].displays for one in ("", "similar", None)] == [
        2,
        1,
        3,
    ]
    assert report_of(displays, events).populations[0].totals["landed_clicks"] == 1
    events.append(sale("bought", "u0", 3))  # the last click earned it, and that was on a similar item
    assert [report_of(displays, events, surface=one).populations[0].totals["sales"] for one in ("", "similar")] in (
        [0, 1], [1, 0],
    )  # fmt: skip


def test_a_window_that_ends_before_it_begins_is_refused():
    with pytest.raises(ReportError, match="--since 2026-03-03T00:00 is later than --until 2026-03-02T00:00"):
        report_of([display("d", "u")], since=START + timedelta(days=2), until=START + timedelta(days=1))


def same(one, other):
    return (one.value, one.low, one.high) == pytest.approx((other.value, other.low, other.high))


def test_the_uplift_of_a_days_end_is_that_of_a_log_that_ended_there():
    displays, events = shop({"A": 0.2, "B": 0.3, "C": 0.4}, users=600)
    found = report_of(displays, events)
    assert {one.metric for one in found.cumulative} == {"landed_clicks", "sales", "order_value"}
    pair = found.verdict.pair
    for day in (2, 6):
        cut = START + timedelta(days=day + 1)
        then = report_of([row for row in displays if row["ts"] < cut], [row for row in events if row["ts"] < cut])
        expected = next(one for one in then.subject if one.metric == "landed_clicks")
        told = next(
            one for one in found.cumulative if one.metric == "landed_clicks" and (one.day - START.date()).days == day
        )
        assert (told.population, told.baseline) == pair
        assert same(told.uplift, expected.uplift)
    last = [one for one in found.cumulative if one.metric == "sales"][-1]
    assert same(last.uplift, next(one.uplift for one in found.subject if one.metric == "sales"))


def test_planned_looks_decide_where_they_are_planned(capsys):
    rows = shop({"A": 0.1, "B": 0.1, "C": 0.25}, users=900)
    early = report_of(*rows, intervals=Intervals(expected_users=6000, looks=5)).subject[0]
    assert isinstance(early.group_sequential, NotEstimable) and "first look is at 1,200 users" in str(
        early.group_sequential
    )
    asked = Intervals(expected_users=600, looks=3, bootstrap=True)
    found = report_of(*rows, intervals=asked)
    one = found.subject[0]
    low, high = one.group_sequential
    assert low < one.uplift.low and one.uplift.high < high < one.uplift.always_valid[1]
    assert one.bootstrap == pytest.approx((one.uplift.low, one.uplift.high), rel=0.25)
    assert found.verdict.decision == "ship" and "planned look's interval" in " ".join(found.verdict.reasons)
    print_report(found)
    assert "at the last look" in capsys.readouterr().out


def test_sources_overlap_and_what_each_alone_earned():
    slots = [slot(0, "i0", ["gbo"]), slot(1, "i1", ["gbo", "led"]), slot(2, "i2", ["led"]), slot(3, "i3", ["led"])]
    displays = [display(f"d{user}", f"u{user}", slots=slots) for user in range(5)]
    events = [
        event(f"{kind}-{item}", kind, "u0", 1, item, "d0") for item in ("i1", "i2") for kind in ("click", "landing")
    ]
    found = report_of(displays, [*events, sale("s", "u0", 2, 30.0)])
    shares = {(one.source, one.other): one.share for one in found.source_overlaps}
    assert shares == {("gbo", "led"): 0.5, ("led", "gbo"): pytest.approx(1 / 3)}
    values = {one.source: one for one in found.source_values}
    assert (values["gbo"].slots, values["gbo"].landed_clicks) == (5, 0)
    assert (values["led"].slots, values["led"].landed_clicks, values["led"].order_value) == (10, 1, 30.0)


def activity(users, busy):
    rows = [{"user_id": f"u{user}", **dict.fromkeys(ACTIVITY, float(busy(user)))} for user in range(users)]
    return pa.Table.from_pylist(rows)


def test_populations_that_differed_before_the_test_are_an_alarm():
    rows = shop({"A": 0.2, "B": 0.2, "C": 0.2}, users=600)
    random = np.random.default_rng(1)
    fair = report_of(*rows, activity=activity(600, lambda user: random.poisson(3)))
    unfair = report_of(*rows, activity=activity(600, lambda user: random.poisson(3 + 2 * (user % 3 == 2))))
    statuses = [next(c for c in found.checks if c.name == "Before the test").status for found in (fair, unfair)]
    assert statuses == ["ok", "alarm"]
    assert unfair.verdict.decision == "broken"
    assert all(one.stratified is not None and one.adjusted is not None for one in fair.comparisons)


def test_another_experiment_on_the_same_users_is_looked_at():
    """Users of the second experiment's treated arm answer this one's treated arm much more."""
    displays, events, random = [], [], np.random.default_rng(2)
    for user in range(1600):
        here, there = "AB"[user % 2], "XY"[user // 2 % 2]
        displays += [display(f"d{user}", f"u{user}", here), display(f"o{user}", f"u{user}", there, experiment="other")]
        if random.random() < (0.6 if (here, there) == ("B", "Y") else 0.2):
            events += [event(f"{kind}{user}", kind, f"u{user}", 1, shown=f"d{user}") for kind in ("click", "landing")]
    displays.append(display("more", "u0", "A", 2))
    check = next(one for one in report_of(displays, events).checks if one.name == "Interaction")
    assert check.status == "look" and "experiment other changes what this one finds" in check.sentence


def test_a_sale_is_attributed_as_the_workspace_was_trained(tmp_path, capsys):
    space = Workspace(tmp_path)
    assert kept_attribution(space) == Attribution()
    (tmp_path / "training.yaml").write_text("ranker: {attribution: {window_days: 7, to: last landed}}\n")
    assert kept_attribution(space) == Attribution(window_days=7, to="last landed")
    rows = shop({"A": 0.2, "B": 0.2, "C": 0.2}, users=60)
    print_report(report_of(*rows, attribution=kept_attribution(space)))
    assert "a sale belongs to the last landed banner product of at most 7 days before" in capsys.readouterr().out
    (tmp_path / "training.yaml").write_text("ranker: {attribution: {window_days: none}}\n")
    with pytest.raises(ReportError, match=r"training.yaml: ranker.attribution.*window_days"):
        kept_attribution(space)
