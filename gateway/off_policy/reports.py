"""What another policy would have brought at a workspace's banners, by every metric, as a value and in the terminal."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
from rich.markup import escape
from rich.table import Table

from data.attribution import Attribution
from data.console import console
from data.workspace import Workspace
from gateway.experiment.exports import as_json
from gateway.experiment.formatting import DASH, INTERVAL, count, interval_words, metric_title, signed
from gateway.experiment.reports import kept_attribution, read_log, utc
from gateway.experiment.statistics.moments import LEVEL, NotEstimable
from gateway.off_policy.diagnostics import LEAST_EFFECTIVE
from gateway.off_policy.estimates import FEW_OUTCOMES, Estimate, Found
from gateway.off_policy.evaluation import PolicyValue, evaluate_slates
from gateway.off_policy.logged import METRICS, MOST_DISPLAYS, ExploredLog, explored_log
from gateway.off_policy.reward_model import cross_fitted
from gateway.off_policy.slates import Slates
from gateway.off_policy.targets import Target


@dataclass(frozen=True)
class PolicyReport:
    """One policy's values at a log's banners, a metric each.

    Attributes:
        policy: in words. values: by METRICS. displays: that were drawn at random. left_out: those that were not.
        places: of each banner, that count. mark: what stands beside made-up figures.
    """

    policy: str
    values: tuple[PolicyValue, ...]
    displays: int
    left_out: int
    places: int
    mark: str

    def table(self) -> pa.Table:
        """One row per metric and estimator; `method` "log": what the log's own policy brought."""
        return pa.concat_tables([one.table() for one in self.values])

    def __getitem__(self, metric: str) -> PolicyValue:
        """The value of a metric's key."""
        return next(one for one in self.values if one.metric == metric)


def evaluate_policy(
    workspace: Workspace | Path | str,
    target: Target,
    *,
    experiment: str | None = None,
    population: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    places: int | None = None,
    attribution: Attribution | None = None,
    most: int = MOST_DISPLAYS,
) -> PolicyReport:
    """Estimate what a policy would have brought at the explored banners of a workspace's log.

    Args:
        target: `UniformPolicy` or `RecommendedPolicy`, or what else says its chances.
        experiment: None: the one with most displays. population: whose banners; None: all.
        since, until: displays with since <= ts < until, UTC.
        attribution: which click earns a sale; None: what the workspace's training says.
        places: count the first so many places alone. most: the newest so many displays.

    Raises:
        OffPolicyError: the log has no banner that was drawn at random.
    """
    place = workspace if isinstance(workspace, Workspace) else Workspace(Path(workspace))
    rule = attribution or kept_attribution(place)
    log = explored_log(*read_log(place), experiment, population, utc(since), utc(until), rule, most)
    found = policy_values(log.first(places), target)
    counted = places or log.propensity.shape[1]
    return PolicyReport(target.name, found, len(log.users), log.left_out, counted, place.origin().mark)


def policy_values(log: ExploredLog, target: Target) -> tuple[PolicyValue, ...]:
    """By METRICS."""
    chances, found = target.chances(log), []
    for metric in METRICS:
        reward = log.rewards[metric]
        model = cross_fitted(reward, log.filled, log.users, chances.scores)
        slates = Slates(reward, log.propensity, chances.target, model.logged, model.policy, model.direct, log.users)
        found.append(evaluate_slates(target.name, metric, slates))
    return tuple(found)


def print_policy(report: PolicyReport) -> None:
    """The estimators of every metric, and what the weights are worth."""
    mark = f" [bold red]{report.mark}[/]" if report.mark else ""
    console.print(f"\n[bold]What would this have brought?[/]{mark}  {escape(report.policy)}")
    told = f"{count(report.displays, 'display')} drawn at random, {report.left_out:,} others; "
    console.print(f"{told}per display, its first {count(report.places, 'place')}", highlight=False)
    table = Table(box=None, padding=(0, 2, 0, 0))
    for number, column in enumerate(("per display", "estimator", "value", INTERVAL, "over the log", INTERVAL, "worth")):
        table.add_column(column, justify="left" if number < 2 else "right", overflow="fold")
    for one in report.values:
        for row in _rows(one):
            table.add_row(*row)
    console.print(table)
    _print_weights(report.values)


def _print_weights(values: Sequence[PolicyValue]) -> None:
    one = values[0]
    found = one.diagnostics
    told = f"weights: worth {found.effective:,.1f} displays ({LEAST_EFFECTIVE:.0f} at least) and "
    told += (
        f"{found.effective_users:,.1f} users, the greatest {found.greatest:,.1f}, mean {found.mean:.2f} (1 expected)"
    )
    told += "" if found.pareto_k != found.pareto_k else f", Pareto k {found.pareto_k:.2f}"
    console.print(told, highlight=False, soft_wrap=True)
    curve = ", ".join(f"{cut.value:.5f} at {cut.clip:,.0f}" for cut in one.clipping[:-1])
    if curve:
        console.print(f"clipped at: {curve}; {one.clipping[-1].value:.5f} unclipped", highlight=False, soft_wrap=True)
    if found.warning:
        console.print(f"[yellow]{found.warning}[/]", highlight=False, soft_wrap=True)


def _rows(one: PolicyValue) -> list[tuple[str, ...]]:
    title = metric_title(one.metric)
    rows = [(title, "the log's own policy", *_cells(one.logged))]
    if isinstance(one.estimates, NotEstimable):
        return [*rows, ("", "[bold]not estimable[/]", DASH, one.estimates.reason, DASH, DASH, DASH)]
    if isinstance(one.estimate, NotEstimable):
        rows.append(("", f"[bold]{one.read}[/]", DASH, one.estimate.reason, DASH, DASH, DASH))
    for name, found in one.estimates.items():
        if isinstance(found, Estimate):
            rows.append(("", f"[bold]{name}[/]" if name == one.read else name, *_cells(found)))
    return rows


def _cells(found: Found) -> tuple[str, ...]:
    if isinstance(found, NotEstimable):
        return DASH, found.reason, DASH, DASH, DASH
    over = (DASH, DASH)
    if not isinstance(found.uplift, NotEstimable) and found.method != "log":
        over = signed(found.uplift.value), interval_words((found.uplift.low, found.uplift.high))
    if found.method == "DM":  # its error is that of the users, and says nothing of the model's
        return f"{found.value:.5f}", "as good as its model", over[0], DASH, DASH
    few = " (few)" if found.outcomes < FEW_OUTCOMES else ""
    worth = DASH if found.outcomes != found.outcomes else f"{found.outcomes:,.0f} users{few}"
    return f"{found.value:.5f}", f"{found.low:.5f} to {found.high:.5f}", *over, worth


def policy_figures(report: PolicyReport) -> dict[str, Any]:
    """As JSON values."""
    return {"level": LEVEL, **as_json(report)}
