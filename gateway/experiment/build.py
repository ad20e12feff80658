"""One report from the log of one experiment."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TypeAlias

import pyarrow as pa

from data.attribution import DEFAULT, Attribution
from data.eventlog import LoggedRows
from data.workspace import Origin
from gateway.experiment import aggregates, health
from gateway.experiment.aggregates import Served, user_values
from gateway.experiment.logs import Window, open_window
from gateway.experiment.model import (
    METRICS,
    Check,
    Comparison,
    Logged,
    Population,
    Report,
    ReportError,
    Truth,
    printable,
)
from gateway.experiment.populations import DEFAULT_POPULATIONS, Experiment, load_experiment
from gateway.experiment.statistics.moments import RatioMoments, mean_with_interval
from gateway.experiment.statistics.normalised import normalised_uplift
from gateway.experiment.statistics.uplift import relative_uplift

Views: TypeAlias = pa.Table | Callable[[datetime], pa.Table] | None
"""item_id, views before the test, or what gives them for the moment of the first display."""


def build_report(
    displays: LoggedRows | pa.Table,
    tracked: LoggedRows | pa.Table,
    views_per_item: Views,
    origin: Origin,
    shares: Mapping[str, float] | None = None,
    truth: Truth | None = None,
    *,
    configured: Experiment | None = None,
    experiment: str | None = None,
    baseline: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    attribution: Attribution = DEFAULT,
) -> Report:
    """Measure one experiment.

    Args:
        displays: of DISPLAY_SCHEMA, of all experiments.
        tracked: of EVENT_SCHEMA: clicks, landings, sales.
        views_per_item: None: popularity is not shown.
        origin: where the data come from; simulated data are marked wherever they are shown.
        shares: the configured share of each population, in the order in which to show them.
        truth: of a simulation, population -> metric key -> true mean per user.
        configured: the populations file, from which the shares are, unless they are given, and its hash; None: the
            file that comes with Tandem, if it served.
        experiment: its name; None: the one with most displays.
        baseline: the population the others are compared with; None: "A", or the first.
        since, until: displays with since <= ts < until, and what they earned, whenever that was.
        attribution: which click earns a sale.

    Raises:
        ReportError: no display to report, or an unknown experiment or baseline.
    """
    window = open_window(displays, tracked, experiment, since, until, attribution)
    logged = tuple(Logged(row["experiment"], row["displays"]) for row in window.log.experiments)
    moments = [row["last"] for row in window.log.experiments] + [window.log.newest_event]
    log_end = max(moment for moment in moments if moment is not None)
    closed_before = log_end - timedelta(days=attribution.window_days)
    served = aggregates.served(window, closed_before)
    if not served.rows:
        raise ReportError(f"experiment {window.experiment!r} has no display between {_told(since)} and {_told(until)}")
    if configured is None and shares is None:
        configured = default_if_it_served(served)
    shares = shares if configured is None or shares is not None else configured.shares
    users, slots = aggregates.per_user(window), aggregates.slots_by_sources(window)
    names = _population_names(served.populations, shares, baseline)
    if callable(views_per_item):
        views_per_item = views_per_item(min(row["first"] for row in window.log.experiments))
    edges, popularity = ((), ()) if views_per_item is None else aggregates.popularity(window, views_per_item, slots)
    populations = tuple(_population(one, users, shares, served) for one in names)
    return Report(
        experiment=window.experiment,
        logged=logged,
        origin=origin,
        attribution=attribution,
        baseline=names[0],
        reference=names[1] if len(names) > 1 else None,
        first=served.first,
        last=served.last,
        log_end=log_end,
        checks=_checks(window, users, populations, served, log_end, shares, configured),
        populations=populations,
        comparisons=_comparisons(users, names, truth),
        truth=truth,
        days=aggregates.sales_per_day(window, served, log_end),
        source_shares=aggregates.source_shares(window, slots),
        popularity_edges=edges,
        popularity=popularity,
        degraded=served.degraded,
        latency=aggregates.latency(window),
        configs=served.versions("config_hash"),
        bundles=served.versions("bundle_version"),
    )


def default_if_it_served(served: Served) -> Experiment | None:
    """The populations file that comes with Tandem, if its configuration is the only one that served."""
    default = load_experiment(DEFAULT_POPULATIONS)
    return default if {row["config_hash"] for row in served.rows} == {default.config_hash} else None


def _population_names(logged: Sequence[str], shares: Mapping[str, float] | None, baseline: str | None) -> list[str]:
    """The baseline first, then as configured, then what only the log names."""
    names = list(dict.fromkeys([*(shares or {}), *logged]))
    if baseline is None:
        baseline = "A" if "A" in names else names[0]
    if baseline not in names:
        told = ", ".join(repr(printable(name)) for name in names)
        raise ReportError(f"baseline {baseline!r} is no population of the log; expected one of {told}")
    return [baseline, *(name for name in names if name != baseline)]


def _population(name: str, users: pa.Table, shares: Mapping[str, float] | None, served: Served) -> Population:
    values = user_values(users, name)
    return Population(
        name=name,
        share=None if shares is None else shares.get(name, 0.0),
        users=len(values["displays"]),
        displays=int(values["displays"].sum()),
        slots=int(values["slots"].sum()),
        totals={metric.key: float(values[metric.key].sum()) for metric in METRICS},
        means={metric.key: mean_with_interval(RatioMoments.of(values[metric.key])) for metric in METRICS},
        displays_per_user=mean_with_interval(RatioMoments.of(values["displays"])),
        degraded=served.degraded.get("any", {}).get(name, 0),
    )


def _comparisons(users: pa.Table, names: Sequence[str], truth: Truth | None) -> tuple[Comparison, ...]:
    moments = aggregates.metric_moments(users)
    empty = {metric.key: RatioMoments() for metric in METRICS}
    baseline = moments.get(names[0], empty)
    found = []
    for key in baseline:
        for name in names[1:]:
            group, reference = moments.get(name, empty), moments.get(names[1], empty)
            true = true_uplift(truth, key, name, names[0])
            scale = true_uplift(truth, key, names[1], names[0])
            found.append(
                Comparison(
                    metric=key,
                    population=name,
                    uplift=relative_uplift(group[key], baseline[key]),
                    normalised=None
                    if name == names[1]
                    else normalised_uplift(group[key], reference[key], baseline[key]),
                    true_uplift=true,
                    true_normalised=true / scale if true is not None and scale and name != names[1] else None,
                )
            )
    return tuple(found)


def true_uplift(truth: Truth | None, metric: str, population: str, baseline: str) -> float | None:
    """The relative uplift of the true means per user; None without a truth or with a true baseline of zero."""
    if truth is None or population not in truth or not truth.get(baseline, {}).get(metric):
        return None
    return truth[population][metric] / truth[baseline][metric] - 1


def _checks(
    window: Window,
    users: pa.Table,
    populations: Sequence[Population],
    served: Served,
    log_end: datetime,
    shares: Mapping[str, float] | None,
    configured: Experiment | None,
) -> tuple[Check, ...]:
    displays = {one.name: RatioMoments.of(user_values(users, one.name)["displays"]) for one in populations}
    configs = served.versions("config_hash")
    file_hash = None if configured is None else configured.config_hash
    return (
        health.sample_ratio_check(window, [one.name for one in populations], shares, file_hash),
        *health.window_check(window),
        health.exposure_check(displays, populations[0].name),
        *health.left_out_checks(window),
        health.degraded_check(served.displays, served.count(empty=True), served.degraded),
        health.configuration_check(configs, file_hash),
        health.maturity_check(served.count(closed=True), served.displays, log_end, window.attribution.window_days),
    )


def _told(moment: datetime | None) -> str:
    return "any time" if moment is None else moment.isoformat()
