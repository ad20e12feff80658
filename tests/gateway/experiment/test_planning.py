"""How long must a test run? From a log, and before there is one."""

import json

import pytest
from typer.testing import CliRunner

from gateway.experiment.model import ReportError
from gateway.experiment.planning import plan_from, plan_of
from gateway.experiment.statistics.moments import NotEstimable
from tandem.cli import app
from tests.support.gateway.log_rows import EVEN, display, report_of, shop


def test_a_plan_counts_users_and_days_at_the_rate_of_the_last_week():
    found = {one.metric: one for one in plan_of(report_of(*shop(EVEN), shares=EVEN), 0.1)}
    one = found["landed_clicks"]
    assert one.users == 600
    assert one.new_users == pytest.approx(60, rel=0.02)  # 900 users in ten days, two of three populations
    assert one.days_left == pytest.approx((one.plan.users - 600) / one.new_users, abs=1)
    assert one.sequential_days_left > one.days_left
    assert one.detectable > 0.1


def test_enough_users_need_no_more_days():
    assert plan_of(report_of(*shop(EVEN), shares=EVEN), 2.0)[0].days_left == 0


def test_a_metric_without_outcomes_is_not_planned():
    rows = [display(f"d{one}", f"u{one}", "AB"[one % 2], one) for one in range(20)]
    found = plan_of(report_of(rows), 0.1)
    assert all(isinstance(one.plan, NotEstimable) and one.days_left is None for one in found)
    with pytest.raises(ReportError, match="has one population"):
        plan_of(report_of(rows[::2]), 0.1)
    with pytest.raises(ReportError, match=r"between 0\.5 and 0\.999"):
        plan_of(report_of(rows), 0.1, power=2)


def test_a_plan_before_the_test_is_the_textbooks():
    """Two proportions of .1 and .11 need some 14,750 users each by the usual formula; the log ratio is close."""
    found = plan_from(0.1, (0.1 * 0.9) ** 0.5, 0.1)
    assert found.users == pytest.approx(2 * 14_750, rel=0.12)


def test_the_command_plans_without_a_log(tmp_path):
    path = tmp_path / "plan.json"
    arguments = ["plan", "--mean", "0.2", "--deviation", "0.5", "--uplift", "0.05", "--json", str(path)]
    found = CliRunner().invoke(app, arguments)
    assert found.exit_code == 0, found.output
    assert "users in both populations" in found.output
    assert json.loads(path.read_text())["figures"]["plan"]["users"] == plan_from(0.2, 0.5, 0.05).users
    assert "belong together" in str(CliRunner().invoke(app, ["plan", "--mean", "0.2"]).exception)


@pytest.mark.parametrize(
    ("mean", "deviation", "uplift", "power"),
    [
        (0.2, 0.5, 0.0, 0.8),
        (0.2, 0.5, -1.0, 0.8),
        (0.2, 0.5, float("nan"), 0.8),
        (0.2, 0.5, float("inf"), 0.8),
        (0.2, 0.5, 0.05, 0.001),
        (0.2, 0.5, 0.05, 1.0),
        (0.0, 1.0, 0.05, 0.8),
        (float("nan"), 1.0, 0.05, 0.8),
        (0.2, 0.0, 0.05, 0.8),
        (0.2, float("inf"), 0.05, 0.8),
    ],
)
def test_numbers_that_no_test_can_have_are_refused_rather_than_planned(mean, deviation, uplift, power):
    with pytest.raises(ReportError, match="expected"):
        plan_from(mean, deviation, uplift, power=power)


def test_a_spread_beyond_all_bounds_is_not_planned():
    assert isinstance(plan_from(1e-300, 1.0, 0.05), NotEstimable)
    assert isinstance(plan_from(1.0, 1e300, 0.05), NotEstimable)
