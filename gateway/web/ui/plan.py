"""`/ui/plan`: how many users and days a test needs, from numbers or from the test that runs."""

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from markupsafe import Markup
from scipy.stats import norm
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response

from data.errors import TandemError
from gateway.experiment.model import METRICS, Report
from gateway.experiment.planning import Planned, plan_from, plan_of
from gateway.experiment.statistics.moments import LEVEL, NotEstimable
from gateway.experiment.statistics.power import Plan
from gateway.experiment.statistics.uplift import always_valid_factor
from gateway.pages.curves import plan_plot
from gateway.web.banner import parameters
from gateway.web.responses import bad_request
from gateway.web.ui.experiment import ExperimentView
from gateway.web.ui.shell import Shell

_GRID = (0.01, 0.02, 0.05, 0.1, 0.2)
_PATIENCE = 0.15


@dataclass(frozen=True)
class Wish:
    """The form. Uplift, power and share in percent; mean and deviation per user; users who come new each day."""

    uplift: float = 5.0
    power: float = 80.0
    share: float = 50.0
    mean: float = 0.2
    deviation: float = 0.6
    users: float = 1000.0


_LIMITS = {
    "uplift": (-90.0, 200.0),
    "power": (50.0, 99.0),
    "share": (1.0, 99.0),
    "mean": (1e-9, 1e12),
    "deviation": (1e-9, 1e12),
    "users": (1.0, 1e12),
}


class PlanView:
    """Answers the form; what runs already plans itself from its own spread."""

    def __init__(self, shell: Shell, experiment: ExperimentView) -> None:
        self._shell, self._experiment = shell, experiment

    async def page(self, request: Request) -> Response:
        wish = _wish(request.query_params)
        try:
            found = await self._experiment.report({}, _PATIENCE)
        except TandemError:
            found = None
        return await run_in_threadpool(self._page, wish, found if isinstance(found, Report) else None)

    def _page(self, wish: Wish, report: Report | None) -> Response:
        plan = _plan(wish)
        known = isinstance(plan, Plan)
        return self._shell.page(
            "plan.html",
            current="plan",
            title="Plan",
            wish=wish,
            limits=_LIMITS,
            plan=plan if known else None,
            why="" if known else str(plan),
            days=_days(plan, wish) if isinstance(plan, Plan) else (),
            grid=[(uplift, _plan(replace(wish, uplift=100 * uplift))) for uplift in _GRID],
            plot=Markup(_plot(plan, wish)) if isinstance(plan, Plan) else None,
            running=_running(report, wish),
            report=report,
            titles={one.key: one.title for one in METRICS},
        )


def _wish(query: QueryParams) -> Wish:
    """Raises WebRefusal: a parameter that is unknown, no number, or out of its range."""
    given = parameters(query, tuple(_LIMITS))
    values: dict[str, Any] = {}
    for name, text in given.items():
        low, high = _LIMITS[name]
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not low <= value <= high:
            raise bad_request(f"{name} is {text!r:.40}; expected a number from {low:g} to {high:g}")
        values[name] = value
    wish = replace(Wish(), **values)
    if wish.uplift == 0:
        raise bad_request("uplift is 0; expected another number, for no test sees nothing")
    return wish


def _plan(wish: Wish) -> Plan | NotEstimable:
    return plan_from(wish.mean, wish.deviation, wish.uplift / 100, wish.share / 100, wish.power / 100)


def _days(plan: Plan, wish: Wish) -> tuple[int, int]:
    return math.ceil(plan.users / wish.users), math.ceil(plan.sequential_users / wish.users)


def _plot(plan: Plan, wish: Wish) -> str:
    """Power over users: the effect in standard errors grows with their square root, and is known where planned."""
    users = np.geomspace(max(10, plan.users / 20), plan.sequential_users * 3, 60)
    wanted = norm.ppf(wish.power / 100)
    edge, tuned = norm.isf((1 - LEVEL) / 2), plan.sequential_users
    signal = (edge + wanted) * np.sqrt(users / plan.users)
    once = norm.cdf(signal - edge)
    daily = norm.cdf(signal - [always_valid_factor(math.ceil(one), tuned_for=tuned) for one in users])
    return plan_plot(users.tolist(), once.tolist(), daily.tolist(), wish.uplift / 100, wish.power / 100)


def _running(report: Report | None, wish: Wish) -> tuple[Planned, ...]:
    if report is None or report.verdict is None:
        return ()
    try:
        return plan_of(report, wish.uplift / 100, wish.power / 100)
    except TandemError:
        return ()
