"""The logs become sums: which displays and events count, and what each user, day, source and stage amounts to.

Expressions are Ibis over the relations of `data/relations.py`; what comes out is small (one row per user at most).
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import ibis
import numpy as np
import pyarrow as pa
from ibis.expr.types import Table

from data import relations
from data.engine import collect, connect, read_table
from gateway.experiment.model import METRICS, Day, Popularity, SourceShare, StageLatency, Version
from gateway.experiment.statistics.moments import RatioMoments

NO_SOURCE = "(none)"
"""The source of a slot whose log names none."""

TOTAL = "total"
"""A banner's time in all stages together."""

POPULARITY_BINS_PER_DECADE = 4


@dataclass(frozen=True)
class Logs:
    """The logs of one experiment, as tables of an engine.

    displays: one per display_id, of the experiment, in the window, whose user is named and saw one population only.
    window: the same with the users that were left out. tracked: events of any display, one per event_id, without
    clicks and landings on what was not shown.
    """

    connection: Any
    displays: Table
    window: Table
    tracked: Table
    all_tracked: Table


@dataclass(frozen=True, slots=True)
class LeftOut:
    """What the figures leave out, counted."""

    mixed_users: int
    nameless_displays: int
    clicks_without_display: int


def open_logs(
    displays: pa.Table,
    tracked: pa.Table,
    experiment: str,
    since: datetime | None = None,
    until: datetime | None = None,
) -> Logs:
    """The displays of `experiment` with since <= ts < until, and the tracked events that may belong to them."""
    connection = connect("duckdb", threads=2)
    every = relations.first_of_each(read_table(connection, displays), "display_id", ("ts", "user_id", "population"))
    window = every.filter(every["experiment"] == experiment)
    if since is not None:
        window = window.filter(window["ts"] >= since)
    if until is not None:
        window = window.filter(window["ts"] < until)
    window = _kept(connection, window)
    named = window.filter(window["user_id"] != "")
    faithful = _populations_per_user(named).filter(lambda table: table["populations"] == 1)
    events = _kept(connection, relations.distinct_events(read_table(connection, tracked)))
    counted = _kept(connection, named.semi_join(faithful, "user_id"))
    return Logs(connection, counted, window, _kept(connection, _on_shown_slots(events, every)), events)


def left_out(logs: Logs) -> LeftOut:
    """How much the figures do not count, and why."""
    named = logs.window.filter(logs.window["user_id"] != "")
    mixed = _populations_per_user(named).filter(lambda table: table["populations"] > 1)
    nameless = logs.window.filter(logs.window["user_id"] == "")
    counts = (table.count().execute() for table in (mixed, nameless, _clicks(logs.all_tracked), _clicks(logs.tracked)))
    mixed_users, nameless_displays, clicks, counted_clicks = map(int, counts)
    return LeftOut(mixed_users, nameless_displays, clicks - counted_clicks)


def per_user(logs: Logs) -> pa.Table:
    """One row per user with a counted display: population, user_id, displays, slots, clicks and the METRICS."""
    return collect(relations.user_aggregates(logs.displays, logs.tracked).order_by(["population", "user_id"]))


def user_values(users: pa.Table, population: str) -> dict[str, np.ndarray]:
    """Float64 [users of the population] of every figure of `per_user`."""
    rows = users.filter(pa.compute.equal(users["population"], population))
    names = ("displays", "slots", "clicks", *(metric.key for metric in METRICS))
    return {name: rows[name].to_numpy().astype(np.float64) for name in names}


def metric_moments(users: pa.Table) -> dict[str, dict[str, RatioMoments]]:
    """population -> metric key -> moments over its users, each user counting once (d = 1)."""
    names = sorted(set(users["population"].to_pylist()))
    values = {name: user_values(users, name) for name in names}
    return {name: {metric.key: RatioMoments.of(values[name][metric.key]) for metric in METRICS} for name in names}


def source_shares(logs: Logs) -> tuple[SourceShare, ...]:
    """The LED paper's Table 5: whose proposals fill the slots of each population, by population, then by share."""
    slots = _slots_with_sources(logs.displays)
    totals = slots.group_by("population").agg(slots=slots.count())
    counted = _by_source(slots).group_by(["population", "source"]).agg(
        split=lambda t: t["weight"].sum(),
        proposed=lambda t: t.count(),
        alone=lambda t: (t["weight"] == 1).cast("int64").sum(),
    )  # fmt: skip
    rows = collect(counted.join(totals, "population")).to_pylist()
    rows.sort(key=lambda row: (row["population"], -row["split"], row["source"]))
    return tuple(
        SourceShare(
            row["population"],
            row["source"],
            *(row[part] / row["slots"] for part in ("split", "proposed", "alone")),
        )
        for row in rows
    )


def sales_per_day(logs: Logs, log_end: datetime) -> tuple[Day, ...]:
    """Attributed sales by the UTC day of the sale, every day from the first display to the last display or sale.

    A day is open while a display of that day is younger than the attribution window.
    """
    owners = logs.displays.select("display_id", "user_id", "merchant_id", "population")
    sales = relations.attributed_sales(logs.tracked).join(owners, ["display_id", "user_id", "merchant_id"])
    sold = _by_day(sales).agg(sales=lambda t: t.count(), order_value=lambda t: t["order_value"].sum())
    shown = collect(_by_day(logs.displays).agg(displays=lambda t: t.count())).to_pylist()
    bought = {(row["day"], row["population"]): row for row in collect(sold).to_pylist()}
    if not shown:
        return ()
    displays = {(row["day"], row["population"]): row["displays"] for row in shown}
    numbers = [day for day, _ in (*displays, *bought)]
    still_open = int((log_end - timedelta(days=relations.ATTRIBUTION_DAYS)).timestamp()) // 86_400
    return tuple(
        Day(
            date.fromordinal(date(1970, 1, 1).toordinal() + day),
            population,
            displays.get((day, population), 0),
            bought.get((day, population), {}).get("sales", 0),
            bought.get((day, population), {}).get("order_value", 0.0),
            day >= still_open,
        )
        for day in range(min(numbers), max(numbers) + 1)
        for population in sorted({name for _, name in displays})
    )


def popularity(logs: Logs, views: pa.Table) -> tuple[tuple[float, ...], tuple[Popularity, ...]]:
    """Bin edges, and per source the views of the items it placed (LED paper, Figure 6).

    Args:
        views: item_id, views. An item that is not in it has none.
    """
    split = _by_source(_slots_with_sources(logs.displays))
    placed = split.group_by(["source", "item_id"]).agg(weight=split["weight"].sum())
    known = read_table(logs.connection, views).select("item_id", "views")
    joined = placed.left_join(known, "item_id").select("source", "weight", "views")
    rows = collect(joined.mutate(views=joined["views"].fill_null(0)).order_by(["source", "views"]))
    if not len(rows):
        return (), ()
    sources = np.array(rows["source"].to_pylist())
    weight, seen = (rows[name].to_numpy().astype(np.float64) for name in ("weight", "views"))
    decades = max(1, int(np.ceil(np.log10(max(2.0, seen.max() + 1)))))
    edges = np.concatenate([[0.0], np.logspace(0, decades, decades * POPULARITY_BINS_PER_DECADE + 1)])
    return tuple(edges.tolist()), tuple(
        _popularity_of(name, seen[sources == name], weight[sources == name], edges) for name in sorted(set(sources))
    )


def degraded(logs: Logs) -> dict[str, dict[str, int]]:
    """What failed open -> population -> displays, over the window; "any" counts displays with at least one."""
    marked = logs.window.filter(logs.window["degraded"].length() > 0)
    any_of = marked.select("population", what=ibis.literal("any"))
    each = marked.select("population", what=marked["degraded"].unique().unnest())
    rows = ibis.union(any_of, each).group_by(["what", "population"]).agg(displays=lambda t: t.count())
    counts: dict[str, dict[str, int]] = {}
    for row in sorted(collect(rows).to_pylist(), key=lambda row: (row["what"] != "any", row["what"])):
        counts.setdefault(row["what"], {})[row["population"]] = row["displays"]
    return counts


def latency(displays: pa.Table) -> tuple[StageLatency, ...]:
    """Percentiles of the time spent in each stage, microseconds, in the order logged, and of their sum per display."""
    column = displays["stage_us"].combine_chunks()
    offsets = column.offsets.to_numpy()
    stages = np.array(column.keys.to_pylist(), dtype=object)[offsets[0] : offsets[-1]]
    times = column.items.to_numpy(zero_copy_only=False).astype(np.float64)[offsets[0] : offsets[-1]]
    timed = np.diff(offsets) > 0
    samples = {stage: times[stages == stage] for stage in dict.fromkeys(stages)}
    if samples and TOTAL not in samples:
        samples[TOTAL] = np.add.reduceat(times, (offsets[:-1] - offsets[0])[timed])
    return tuple(
        StageLatency(stage, len(sample), *(float(np.percentile(sample, point)) for point in (50, 99)))
        for stage, sample in samples.items()
    )


def versions(logs: Logs, column: str) -> tuple[Version, ...]:
    """The values of `config_hash` or `bundle_version` over the window, by first appearance."""
    rows = collect(
        logs.window.group_by([column, "population"]).agg(
            first=lambda t: t["ts"].min(), last=lambda t: t["ts"].max(), displays=lambda t: t.count()
        )
    ).to_pylist()
    found = []
    for name in {row[column] for row in rows}:
        mine = [row for row in rows if row[column] == name]
        displays = {row["population"]: row["displays"] for row in sorted(mine, key=lambda row: row["population"])}
        found.append(Version(name, min(r["first"] for r in mine), max(r["last"] for r in mine), displays))
    return tuple(sorted(found, key=lambda version: (version.first, version.name)))


def newest(*columns: pa.ChunkedArray) -> datetime:
    """The latest of some timestamps; the epoch if there are none."""
    moments = [pa.compute.max(column).as_py() for column in columns]
    return max((moment for moment in moments if moment is not None), default=datetime(1970, 1, 1, tzinfo=UTC))


def _kept(connection: Any, table: Table) -> Table:
    """The table computed once, for the many expressions that read it."""
    return read_table(connection, collect(table))


def _populations_per_user(displays: Table) -> Table:
    return displays.group_by("user_id").agg(populations=displays["population"].nunique())


def _clicks(events: Table) -> Table:
    return events.filter(events["kind"].isin(["click", "landing"]), events["display_id"].notnull())


def _on_shown_slots(events: Table, displays: Table) -> Table:
    """The events without the clicks and landings that name a display which did not show that item to that user."""
    slots = relations.shown_slots(displays).select("display_id", "user_id", "item_id").distinct()
    clicks = _clicks(events).semi_join(slots, ["display_id", "user_id", "item_id"])
    others = events.filter(~events["kind"].isin(["click", "landing"]))
    return ibis.union(clicks, others, distinct=False)


def _slots_with_sources(displays: Table) -> Table:
    """population, item_id and the set of sources of every shown slot."""
    slots = relations.shown_slots(displays)
    sources = ibis.ifelse(slots["sources"].length() > 0, slots["sources"].unique(), ibis.array([NO_SOURCE]))
    return slots.select("population", "item_id", sources=sources)


def _by_source(slots: Table) -> Table:
    """One row per slot and source, of weight 1 / (number of the slot's sources)."""
    weight = 1.0 / slots["sources"].length()
    return slots.select("population", "item_id", weight=weight, source=slots["sources"].unnest())


def _by_day(table: Table) -> Any:
    """Grouped by UTC day (whole days since 1970) and population."""
    day = (table["ts"].epoch_seconds() / 86_400).floor().cast("int64")
    return table.mutate(day=day).group_by(["day", "population"])


def _popularity_of(source: str, views: np.ndarray, weight: np.ndarray, edges: np.ndarray) -> Popularity:
    """`views` ascending, as `popularity` orders them."""
    total = float(weight.sum())
    middle = int(np.searchsorted(np.cumsum(weight), total / 2))
    shares = np.histogram(views, bins=edges, weights=weight)[0] / total
    mean, unseen = float(views @ weight / total), float(weight[views == 0].sum() / total)
    return Popularity(str(source), total, mean, float(views[middle]), unseen, tuple(shares.tolist()))
