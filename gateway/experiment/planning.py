"""How long must a test run? Users and days needed for an uplift, and the uplift that the users there would show."""

import math
from dataclasses import dataclass
from datetime import timedelta

import pyarrow as pa
import pyarrow.compute as pc

from gateway.experiment.aggregates import user_values
from gateway.experiment.model import METRICS, Report, ReportError
from gateway.experiment.statistics.moments import NotEstimable, RatioMoments
from gateway.experiment.statistics.power import POWER, Plan, detectable_uplift, plan

RATE_DAYS = 7
"""New users per day are counted over so many last days."""


@dataclass(frozen=True, slots=True)
class Planned:
    """One metric of the two populations that the verdict compares.

    Attributes:
        metric: key. users: of both now. new_users: of both, a day.
        plan: users needed for the uplift; what is not estimable says why.
        detectable: the uplift that `users` show with the plan's power in one look.
        days_left, sequential_days_left: at `new_users` a day, for one look at the end and for daily looks; 0 if there
            are enough, None if nobody new comes or the plan is not estimable.
    """

    metric: str
    users: int
    new_users: float
    plan: Plan | NotEstimable
    detectable: float | NotEstimable
    days_left: int | None
    sequential_days_left: int | None


def plan_of(report: Report, uplift: float, power: float = POWER) -> tuple[Planned, ...]:
    """Plan the rest of a running test, by metric, from the baseline's spread so far.

    Args:
        uplift: to be seen, as a fraction: 0.05. power: in how many tests of 1 it should be seen.

    Raises:
        ReportError: the log holds one population only, or no such uplift or power.
    """
    if report.verdict is None:
        raise ReportError(f"experiment {report.experiment!r} has one population; expected two to compare")
    _require(uplift, power)
    population, over = report.verdict.pair
    sizes = {one.name: one.users for one in report.populations}
    shares = {one.name: one.share or sizes[one.name] / report.traffic.users for one in report.populations}
    pair, users = (shares[over] or 0.5, shares[population] or 0.5), sizes[over] + sizes[population]
    new_users = _new_users_a_day(report, (population, over))
    values = user_values(report.users, over)
    found = []
    for metric in METRICS:
        group = RatioMoments.of(values[metric.key])
        wanted = plan(group, uplift, pair, power)
        needed = (None, None) if isinstance(wanted, NotEstimable) else (wanted.users, wanted.sequential_users)
        left = [_days(None if count is None else count - users, new_users) for count in needed]
        detectable = detectable_uplift(group, users, pair, power)
        found.append(Planned(metric.key, users, new_users, wanted, detectable, *left))
    return tuple(found)


def plan_from(
    mean: float, deviation: float, uplift: float, share: float = 0.5, power: float = POWER
) -> Plan | NotEstimable:
    """Before a test: from a metric's mean and standard deviation per user. `share`: of users who are treated.

    Raises:
        ReportError: no such uplift, power, mean or deviation.
    """
    _require(uplift, power)
    if not (0 < mean < math.inf and 0 < deviation < math.inf):
        raise ReportError(f"mean {mean:g}, deviation {deviation:g}: expected positive numbers")
    users = 10**6
    group = RatioMoments(users, mean, 1.0, deviation * deviation * (users - 1))
    return plan(group, uplift, (1 - share, share), power)


def _require(uplift: float, power: float) -> None:
    if not 0.5 <= power <= 0.999:
        raise ReportError(f"power {power:g}: expected a fraction between 0.5 and 0.999")
    if not -1 < uplift < math.inf or uplift == 0:
        raise ReportError(f"uplift {uplift:g}: expected a fraction above -1 that is not 0, as 0.05")


def _days(users: int | None, a_day: float) -> int | None:
    if users is None or (users > 0 and a_day <= 0):
        return None
    return max(0, math.ceil(users / a_day)) if users > 0 else 0


def _new_users_a_day(report: Report, names: tuple[str, str]) -> float:
    users = report.users.filter(pc.is_in(report.users["population"], pa.array(names)))
    since = max(report.last - timedelta(days=RATE_DAYS), report.first)
    days = max(1.0, (report.last - since) / timedelta(days=1))
    new = pc.sum(pc.greater_equal(users["first"], pa.scalar(since, users["first"].type))).as_py() or 0
    return float(new) / days
