"""One report from the logs of one experiment."""

from collections.abc import Mapping, Sequence
from datetime import datetime

import numpy as np
import pyarrow as pa

from data.engine import collect
from data.workspace import Origin
from gateway.experiment import aggregates, health
from gateway.experiment.aggregates import Logs, user_values
from gateway.experiment.model import (
    METRICS,
    Check,
    Comparison,
    Population,
    Report,
    ReportError,
    Truth,
    Version,
    printable,
)
from gateway.experiment.statistics.moments import RatioMoments, mean_with_interval
from gateway.experiment.statistics.normalised import normalised_uplift
from gateway.experiment.statistics.uplift import relative_uplift


def build_report(
    displays: pa.Table,
    tracked: pa.Table,
    views_per_item: pa.Table | None,
    origin: Origin,
    shares: Mapping[str, float] | None = None,
    truth: Truth | None = None,
    *,
    experiment: str | None = None,
    baseline: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
) -> Report:
    """Measure one experiment.

    Args:
        displays: of DISPLAY_SCHEMA.
        tracked: of EVENT_SCHEMA: clicks, landings, sales.
        views_per_item: item_id, views before the test; None: popularity is not shown.
        origin: where the data come from; simulated data are marked wherever they are shown.
        shares: the configured share of each population, in the order in which to show them.
        truth: of a simulation, population -> metric key -> true mean per user.
        experiment: its name; None if the log holds one only.
        baseline: the population the others are compared with; None: "A", or the first.
        since, until: displays with since <= ts < until, and what follows from them.

    Raises:
        ReportError: no display to report, several experiments and none chosen, or an unknown baseline.
    """
    name = _chosen_experiment(displays, experiment)
    logs = aggregates.open_logs(displays, tracked, name, since, until)
    window = collect(logs.window)
    if not len(window):
        raise ReportError(f"experiment {name!r} has no display between {_told(since)} and {_told(until)}")
    users = aggregates.per_user(logs)
    names = _population_names(window, shares, baseline)
    log_end = aggregates.newest(displays["ts"], tracked["ts"])
    edges, popularity = ((), ()) if views_per_item is None else aggregates.popularity(logs, views_per_item)
    degraded = aggregates.degraded(logs)
    populations = tuple(_population(one, users, shares, window) for one in names)
    configs = aggregates.versions(logs, "config_hash")
    return Report(
        experiment=name,
        origin=origin,
        baseline=names[0],
        reference=names[1] if len(names) > 1 else None,
        first=pa.compute.min(window["ts"]).as_py(),
        last=pa.compute.max(window["ts"]).as_py(),
        log_end=log_end,
        checks=_checks(logs, users, populations, window, log_end, shares, degraded, configs),
        populations=populations,
        comparisons=_comparisons(users, names, truth),
        truth=truth,
        days=aggregates.sales_per_day(logs, log_end),
        source_shares=aggregates.source_shares(logs),
        popularity_edges=edges,
        popularity=popularity,
        degraded=degraded,
        latency=aggregates.latency(window),
        configs=configs,
        bundles=aggregates.versions(logs, "bundle_version"),
    )


def _chosen_experiment(displays: pa.Table, experiment: str | None) -> str:
    found = sorted(set(pa.compute.unique(displays["experiment"]).to_pylist()))
    told = ", ".join(repr(printable(name)) for name in found)
    if not found:
        raise ReportError("the log holds no display yet; send banner requests to the gateway first")
    if experiment is None:
        if len(found) > 1:
            raise ReportError(f"the log holds several experiments ({told}); choose one with --experiment")
        return str(found[0])
    if experiment not in found:
        raise ReportError(f"the log holds no display of experiment {experiment!r}; it holds {told}")
    return experiment


def _population_names(window: pa.Table, shares: Mapping[str, float] | None, baseline: str | None) -> list[str]:
    """The baseline first, then as configured, then what only the log names."""
    logged = sorted(set(window["population"].to_pylist()))
    names = list(dict.fromkeys([*(shares or {}), *logged]))
    if baseline is None:
        baseline = "A" if "A" in names else names[0]
    if baseline not in names:
        told = ", ".join(repr(printable(name)) for name in names)
        raise ReportError(f"baseline {baseline!r} is no population of the log; expected one of {told}")
    return [baseline, *(name for name in names if name != baseline)]


def _population(name: str, users: pa.Table, shares: Mapping[str, float] | None, window: pa.Table) -> Population:
    values = user_values(users, name)
    mine = window.filter(pa.compute.equal(window["population"], name))
    return Population(
        name=name,
        share=None if shares is None else shares.get(name, 0.0),
        users=len(values["displays"]),
        displays=int(values["displays"].sum()),
        slots=int(values["slots"].sum()),
        totals={metric.key: float(values[metric.key].sum()) for metric in METRICS},
        means={metric.key: mean_with_interval(RatioMoments.of(values[metric.key])) for metric in METRICS},
        displays_per_user=mean_with_interval(RatioMoments.of(values["displays"])),
        degraded=_count(pa.compute.list_value_length(mine["degraded"])),
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
    logs: Logs,
    users: pa.Table,
    populations: Sequence[Population],
    window: pa.Table,
    log_end: datetime,
    shares: Mapping[str, float] | None,
    degraded: Mapping[str, Mapping[str, int]],
    configs: Sequence[Version],
) -> tuple[Check, ...]:
    displays = {one.name: RatioMoments.of(user_values(users, one.name)["displays"]) for one in populations}
    empty = len(window) - _count(pa.compute.list_value_length(window["slots"]))
    closed = _count(pa.compute.less(window["ts"], pa.scalar(health.window_closed_before(log_end), window["ts"].type)))
    return (
        health.sample_ratio_check(populations, shares),
        health.exposure_check(displays, populations[0].name),
        *health.left_out_checks(aggregates.left_out(logs)),
        health.degraded_check(len(window), empty, degraded),
        health.configuration_check(configs),
        health.maturity_check(closed, len(window), log_end),
    )


def _count(values: pa.ChunkedArray) -> int:
    """How many values are true, or not zero."""
    return int(np.count_nonzero(values.to_numpy()))


def _told(moment: datetime | None) -> str:
    return "any time" if moment is None else moment.isoformat()
