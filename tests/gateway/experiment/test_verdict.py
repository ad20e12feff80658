"""The question first, the verdict and its rules, segments, and the report as tables."""

import csv
import json

import pyarrow.parquet as pq
import pytest

from gateway.experiment.comparisons import Intervals
from gateway.experiment.exports import report_figures, uplift_table, write_csv, write_users
from gateway.experiment.formatting import meaning, question
from gateway.experiment.model import ReportError
from tests.support.gateway.log_rows import EVEN, report_of, shop


def test_the_question_is_what_the_added_source_brought():
    found = report_of(*shop({"A": 0.2, "B": 0.3, "C": 0.5}))
    assert question(found) == "What did led bring? C over B"
    assert [(one.population, one.baseline, one.added) for one in found.subject] == [("C", "B", ("led",))] * 3
    assert {(one.population, one.baseline) for one in found.rest} == {("B", "A"), ("C", "A")}


@pytest.mark.parametrize(
    ("rates", "decision"),
    [
        ({"A": 0.2, "B": 0.2, "C": 0.5}, "ship"),
        ({"A": 0.2, "B": 0.5, "C": 0.2}, "roll back"),
        ({"A": 0.3, "B": 0.3, "C": 0.32}, "keep looking"),
    ],
)
def test_the_verdict_follows_the_always_valid_interval(rates, decision):
    found = report_of(*shop(rates), shares=EVEN).verdict
    assert (found.decision, found.population, found.over) == (decision, "C", "B")
    assert "always-valid interval" in found.reasons[0]


def test_an_alarm_means_broken_whatever_the_uplift():
    found = report_of(*shop({"A": 0.2, "B": 0.2, "C": 0.6}), shares={"A": 0.1, "B": 0.1, "C": 0.8}).verdict
    assert found.decision == "broken"
    assert "Sample ratio" in found.reasons[1]


def test_a_guardrail_that_lost_rolls_back_a_gain():
    rows = shop({"A": 0.3, "B": 0.3, "C": 0.5}, worth={"A": 100.0, "B": 100.0, "C": 10.0})
    found = report_of(*rows).verdict
    assert found.decision == "roll back"
    assert any("Guardrail order value lost" in reason for reason in found.reasons)


def test_at_the_planned_end_the_ordinary_interval_decides():
    rows = shop({"A": 0.3, "B": 0.3, "C": 0.42})
    looked = report_of(*rows)
    one = looked.subject[0]
    assert one.conclusion == "gain" and one.lasting_conclusion == "unclear"
    assert looked.verdict.decision == "keep looking"
    assert report_of(*rows, intervals=Intervals(expected_users=600)).verdict.decision == "ship"
    assert report_of(*rows, intervals=Intervals(expected_users=100_000)).verdict.decision == "keep looking"


def test_every_figure_has_a_sentence_with_the_effect_on_a_day():
    found = report_of(*shop({"A": 0.3, "B": 0.3, "C": 0.42}))
    told = meaning(found, found.subject[0])
    assert told.startswith("C has more landed clicks per user than B: +")
    assert "at full traffic +" in told and "landed clicks per day" in told
    one = found.subject[0].difference.value * found.traffic.users / found.traffic.days
    assert f"{one:+.1f}" in told


def test_an_unknown_metric_or_segment_is_refused():
    rows = shop(EVEN, users=9)
    with pytest.raises(ReportError, match="expected one of landed_clicks, sales, order_value"):
        report_of(*rows, metric="money")
    with pytest.raises(ReportError, match="expected one of device, country, merchant, day"):
        report_of(*rows, by="weather")


def test_segments_add_up_to_the_whole():
    rows = shop({"A": 0.2, "B": 0.3, "C": 0.5}, device=lambda user: ("phone", "desk")[user % 2])
    for by in ("device", "day"):
        found = report_of(*rows, by=by)
        mine = [row for row in found.segments if row.comparison.metric == "sales"]
        assert sum(row.users for row in mine) == sum(one.users for one in found.populations if one.name in "BC")
        assert all(row.adjusted_p is None or row.adjusted_p >= row.comparison.uplift.p_value for row in mine)
    assert [row.segment for row in mine] == [f"2026-03-{day:02}" for day in range(1, 11)]


def test_the_report_is_rows_too(tmp_path):
    found = report_of(*shop({"A": 0.2, "B": 0.3, "C": 0.5}), by="country")
    table = uplift_table(found)
    assert len(table) == 3 * 3 + 3
    assert table["uplift"][0].as_py() == found.increments[0].uplift.value
    write_csv(found, tmp_path / "r.csv")
    with (tmp_path / "r.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["metric"] for row in rows] == table["metric"].to_pylist()
    assert rows[0]["added"] == "led" and rows[0]["meaning"].endswith(".")
    write_users(found, tmp_path / "u.parquet")
    users = pq.read_table(tmp_path / "u.parquet")
    assert len(users) == 900
    assert sum(users["sales"].to_pylist()) == sum(one.totals["sales"] for one in found.populations)
    figures = json.loads(json.dumps(report_figures(found), allow_nan=False))
    assert figures["verdict"]["decision"] == found.verdict.decision
    assert "users" not in figures
