"""One report from the log of one experiment."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import TypeAlias

import pyarrow as pa

from data.attribution import DEFAULT, Attribution
from data.eventlog import LoggedRows
from data.workspace import Origin
from gateway.experiment import aggregates, health
from gateway.experiment.aggregates import Served, user_values
from gateway.experiment.comparisons import ACTIVITY, ORDINARY, Comparer, Intervals
from gateway.experiment.cumulative import cumulative_uplift
from gateway.experiment.diversity import diversity_check, diversity_of, guarded
from gateway.experiment.figures import Logged, SourceShare, Traffic
from gateway.experiment.logs import BANNERS
from gateway.experiment.model import METRICS, Check, Population, Report, ReportError, Truth, printable
from gateway.experiment.populations import DEFAULT_POPULATIONS, Experiment, load_experiment
from gateway.experiment.segments import segments_of
from gateway.experiment.sources import overlaps, source_values
from gateway.experiment.statistics.moments import RatioMoments, mean_with_interval
from gateway.experiment.verdict import DECIDING, verdict_of
from gateway.experiment.window import Window, open_window

Views: TypeAlias = pa.Table | Callable[[datetime], pa.Table] | None
"""item_id, views before the test, or what gives them for the moment of the first display."""


def build_report(
    displays: LoggedRows | pa.Table,
    tracked: LoggedRows | pa.Table,
    views_per_item: Views,
    origin: Origin,
    shares: Mapping[str, float] | None = None,
    truth: Truth | Callable[[str], Truth | None] | None = None,
    *,
    configured: Experiment | None = None,
    experiment: str | None = None,
    baseline: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    attribution: Attribution = DEFAULT,
    metric: str = DECIDING,
    intervals: Intervals = ORDINARY,
    first_days: int | None = None,
    surface: str | None = BANNERS,
    activity: Views = None,
    by: str | None = None,
    catalog: pa.Table | None = None,
    kept: Path | None = None,
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
            one in `kept` that served, or the one that comes with Tandem, if it served.
        kept: the log's folder of populations that served (`gateway.experiment.populations.KEPT_POPULATIONS`).
        experiment: its name; None: the one with most displays.
        baseline: the population the others are compared with; None: "A", or the first.
        since, until: displays with since <= ts < until, and what they earned, whenever that was.
        attribution: which click earns a sale.
        metric: key of the metric that decides the verdict.
        intervals: which are wanted, and how many users are planned: from then on the ordinary one decides.
        first_days: of every user since their first banner, which alone count; since and until choose that banner.
        surface: of the displays: "" banners; None: all that was logged.
        activity: user_id and ACTIVITY, what users did before the test, or what gives it for the moment of the first
            display: for CUPED.
        by: segments: device, country, merchant or day.
        catalog: of CATALOG_SCHEMA, with which diversity is measured, if views are given too; None: it is not.

    Raises:
        ReportError: no display to report, or an unknown experiment, baseline or metric.
    """
    if metric not in (one.key for one in METRICS):
        raise ReportError(f"metric {metric!r}: expected one of {', '.join(one.key for one in METRICS)}")
    window = open_window(displays, tracked, experiment, since, until, attribution, first_days, surface)
    logged = tuple(Logged(row["experiment"], row["displays"]) for row in window.log.experiments)
    log_end = window.log.end
    closed_before = log_end - timedelta(days=attribution.window_days)
    served = aggregates.served(window, closed_before)
    if not served.rows:
        raise ReportError(f"experiment {window.experiment!r} has no display between {_told(since)} and {_told(until)}")
    if configured is None and shares is None:
        configured = only_one_that_served(served, kept)
    shares = shares if configured is None or shares is not None else configured.shares
    users, slots = aggregates.per_user(window), aggregates.slots_by_sources(window)
    truth = truth(window.experiment) if callable(truth) else truth
    names = _population_names(served.populations, shares, baseline)
    first = min(row["first"] for row in window.log.experiments)
    views, before = (found(first) if callable(found) else found for found in (views_per_item, activity))
    edges, popularity = ((), ()) if views is None else aggregates.popularity(window, views, slots)
    source_shares = aggregates.source_shares(window, slots)
    sources = _sources(names, configured, source_shares)
    populations = tuple(_population(one, users, shares, served, sources[one]) for one in names)
    with_activity = users if before is None else _with_activity(users, before)
    comparer = Comparer(with_activity, names, sources, truth, intervals)
    over_baseline, increments = comparer.over_baseline(), comparer.increments()
    checks = _checks(window, with_activity, populations, served, log_end, shares, configured)
    questions = (*increments, *over_baseline)
    diversity = None if catalog is None or views is None else diversity_of(window, catalog, views, names)
    verdict = verdict_of(checks, populations, questions, metric, intervals.expected_users)
    if diversity is not None and verdict is not None:
        guard = diversity_check(diversity, *verdict.pair)
        checks, verdict = (*checks, guard), guarded(verdict, guard)
    segments = () if by is None or verdict is None else segments_of(window, by, names, sources, verdict.pair)
    return Report(
        experiment=window.experiment,
        logged=logged,
        origin=origin,
        attribution=attribution,
        first_days=first_days,
        baseline=names[0],
        reference=names[1] if len(names) > 1 else None,
        first=served.first,
        last=served.last,
        log_end=log_end,
        checks=checks,
        populations=populations,
        comparisons=over_baseline,
        increments=increments,
        verdict=verdict,
        traffic=Traffic(len(users), max(1.0, (served.last - served.first) / timedelta(days=1))),
        truth=truth,
        days=aggregates.sales_per_day(window, served, log_end),
        cumulative=() if verdict is None else cumulative_uplift(window, users, verdict.pair, intervals.tuned_for),
        source_shares=source_shares,
        source_overlaps=overlaps(slots),
        source_values=source_values(window, slots),
        popularity_edges=edges,
        popularity=popularity,
        degraded=served.degraded,
        latency=aggregates.latency(window),
        configs=served.versions("config_hash"),
        bundles=served.versions("bundle_version"),
        segments=segments,
        diversity=diversity,
        users=users,
    )


def only_one_that_served(served: Served, kept: Path | None) -> Experiment | None:
    """The populations that served, if it was one configuration alone, from what the log keeps of them; else the file
    that comes with Tandem, if it was that."""
    hashes = {row["config_hash"] for row in served.rows}
    if len(hashes) != 1:
        return None
    (one,) = hashes
    for path in (DEFAULT_POPULATIONS, *(() if kept is None else kept.glob("*.yaml"))):
        if path == DEFAULT_POPULATIONS or path.stem == one:
            found = load_experiment(path)
            if found.config_hash == one:
                return found
    return None


def _population_names(logged: Sequence[str], shares: Mapping[str, float] | None, baseline: str | None) -> list[str]:
    """The baseline first, then as configured, then what only the log names."""
    names = list(dict.fromkeys([*(shares or {}), *logged]))
    if baseline is None:
        baseline = "A" if "A" in names else names[0]
    if baseline not in names:
        told = ", ".join(repr(printable(name)) for name in names)
        raise ReportError(f"baseline {baseline!r} is no population of the log; expected one of {told}")
    return [baseline, *(name for name in names if name != baseline)]


def _sources(
    names: Sequence[str], configured: Experiment | None, shown: Sequence[SourceShare]
) -> dict[str, tuple[str, ...]]:
    """By population: as configured, else those that the log names."""
    known = {} if configured is None else {one.name: one.sources for one in configured.populations}
    logged = {name: tuple(sorted(one.source for one in shown if one.population == name)) for name in names}
    return {name: known.get(name, logged[name]) for name in names}


def _with_activity(users: pa.Table, before: pa.Table) -> pa.Table:
    """The users with ACTIVITY; 0 for who did nothing before."""
    joined = aggregates.joined_or_zero(users, before.select(["user_id", *ACTIVITY]), ["user_id"], ACTIVITY)
    return joined.sort_by([("population", "ascending"), ("user_id", "ascending")])


def _population(
    name: str,
    users: pa.Table,
    shares: Mapping[str, float] | None,
    served: Served,
    sources: tuple[str, ...],
) -> Population:
    values = user_values(users, name)
    return Population(
        name=name,
        sources=sources,
        share=None if shares is None else shares.get(name, 0.0),
        users=len(values["displays"]),
        displays=int(values["displays"].sum()),
        slots=int(values["slots"].sum()),
        totals={metric.key: float(values[metric.key].sum()) for metric in METRICS},
        means={metric.key: mean_with_interval(RatioMoments.of(values[metric.key])) for metric in METRICS},
        displays_per_user=mean_with_interval(RatioMoments.of(values["displays"])),
        degraded=served.degraded.get("any", {}).get(name, 0),
    )


def _checks(
    window: Window,
    users: pa.Table,
    populations: Sequence[Population],
    served: Served,
    log_end: datetime,
    shares: Mapping[str, float] | None,
    configured: Experiment | None,
) -> tuple[Check, ...]:
    values = {one.name: user_values(users, one.name) for one in populations}
    configs = served.versions("config_hash")
    file_hash = None if configured is None else configured.config_hash
    return (
        health.sample_ratio_check(window, [one.name for one in populations], shares, file_hash),
        *health.window_check(window),
        health.exposure_check({name: found["displays"] for name, found in values.items()}),
        health.tails_check(values),
        *health.before_check(users, list(values)),
        *health.left_out_checks(window),
        *health.interaction_checks(window, users),
        health.degraded_check(served.displays, served.count(empty=True), served.degraded),
        health.configuration_check(configs, file_hash),
        health.maturity_check(window, served.count(closed=True), served.displays, log_end),
    )


def _told(moment: datetime | None) -> str:
    return "any time" if moment is None else moment.isoformat()
