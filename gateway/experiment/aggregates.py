"""The log becomes sums: what each user, day, source and stage of a window amounts to.

Expressions are Ibis over the tables of `logs`; what comes out is small (one row per user at most).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

import ibis
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from ibis.expr.types import Table

from data.attribution import user_outcomes
from gateway.experiment.figures import Day, Popularity, SourceShare, StageLatency, Version
from gateway.experiment.model import METRICS
from gateway.experiment.statistics.moments import RatioMoments
from gateway.experiment.window import Window, date_of, utc_day

NO_SOURCE = "(none)"
"""The source of a slot whose log names none."""

TOTAL = "total"
"""A banner's time in all stages together."""

POPULARITY_BINS_PER_DECADE = 4

OUTCOMES = ("clicks", "landed_clicks", "sales", "order_value")


def per_user(window: Window) -> pa.Table:
    """One row per user with a counted display, by population and user: `Window.users` with OUTCOMES."""
    outcomes = window.log.collect(user_outcomes(window.clicks, window.sales, ("population", "user_id")))
    users = with_outcomes(window.users, outcomes, ["population", "user_id"])
    return users.sort_by([("population", "ascending"), ("user_id", "ascending")])


def with_outcomes(users: pa.Table, outcomes: pa.Table, keys: list[str]) -> pa.Table:
    """The users' rows with OUTCOMES, joined by the keys; 0 for those who have none."""
    return joined_or_zero(users, outcomes, keys, OUTCOMES)


def joined_or_zero(users: pa.Table, table: pa.Table, keys: list[str], names: Sequence[str]) -> pa.Table:
    """The users' rows with the table's, joined by the keys; 0 in the columns `names` for those whom it lacks."""
    joined = users.join(table, keys)
    for name in names:
        joined = joined.set_column(joined.column_names.index(name), name, pc.fill_null(joined[name], 0))
    return joined


def user_values(users: pa.Table, population: str) -> dict[str, np.ndarray]:
    """Float64 [users of the population] of displays, slots and OUTCOMES."""
    rows = users.filter(pc.equal(users["population"], population))
    return {name: rows[name].to_numpy().astype(np.float64) for name in ("displays", "slots", *OUTCOMES)}


def metric_moments(users: pa.Table) -> dict[str, dict[str, RatioMoments]]:
    """population -> metric key -> moments over its users, each user counting once (d = 1)."""
    names = sorted(set(users["population"].to_pylist()))
    values = {name: user_values(users, name) for name in names}
    return {name: {metric.key: RatioMoments.of(values[name][metric.key]) for metric in METRICS} for name in names}


@dataclass(frozen=True)
class Served:
    """The window's displays, counted by all that a report says about how they were served.

    rows: population, config_hash, bundle_version, day, degraded, empty, closed, counted, displays, first, last.
    """

    rows: list[dict[str, Any]]

    @property
    def displays(self) -> int:
        return self.count()

    def count(self, **only: Any) -> int:
        """Displays of the rows whose columns have these values."""
        return sum(row["displays"] for row in self.rows if all(row[name] == one for name, one in only.items()))

    @cached_property
    def populations(self) -> list[str]:
        return sorted({row["population"] for row in self.rows})

    @property
    def first(self) -> datetime:
        found: datetime = min(row["first"] for row in self.rows)
        return found

    @property
    def last(self) -> datetime:
        found: datetime = max(row["last"] for row in self.rows)
        return found

    @cached_property
    def degraded(self) -> Mapping[str, Mapping[str, int]]:
        """What failed open -> population -> displays; "any" counts displays with at least one."""
        counts: dict[str, dict[str, int]] = {}
        for row in self.rows:
            for what in {"any", *row["degraded"]} if row["degraded"] else ():
                mine = counts.setdefault(what, {})
                mine[row["population"]] = mine.get(row["population"], 0) + row["displays"]
        return {what: counts[what] for what in sorted(counts, key=lambda one: (one != "any", one))}

    def versions(self, column: str) -> tuple[Version, ...]:
        """The values of `config_hash` or `bundle_version`, by first appearance."""
        found = []
        for name in {row[column] for row in self.rows}:
            mine = Served([row for row in self.rows if row[column] == name])
            displays = {one: mine.count(population=one) for one in mine.populations}
            found.append(Version(name, mine.first, mine.last, displays))
        return tuple(sorted(found, key=lambda version: (version.first, version.name)))


def served(window: Window, closed_before: datetime) -> Served:
    """Count the window's displays. `closed_before`: displays older than this can earn no further sale."""
    columns = ("population", "config_hash", "bundle_version", "degraded", "ts", "user_id", "slots.position")
    shown = window.displays(*columns, counted=False)
    left_out = window.left_out["user_id"].to_pylist()
    shown = shown.mutate(
        day=utc_day(shown["ts"]),
        degraded=shown["degraded"].unique().sort(),
        empty=shown["slots"].length() == 0,
        closed=shown["ts"] < closed_before,
        counted=~shown["user_id"].isin(left_out) if left_out else shown["user_id"].notnull(),
    )
    by = ["population", "config_hash", "bundle_version", "day", "degraded", "empty", "closed", "counted"]
    grouped = shown.group_by(by).agg(displays=shown.count(), first=shown["ts"].min(), last=shown["ts"].max())
    return Served(window.log.collect(grouped).to_pylist())


def slots_by_sources(window: Window) -> pa.Table:
    """population, item_id, sources (a sorted set), slots: how often each item was shown, by who proposed it."""
    shown = window.displays("population", "slots.item_id", "slots.sources")
    slots = shown.select("population", slot=shown["slots"].unnest())
    slots = slots.select("population", item_id=slots["slot"]["item_id"], sources=slots["slot"]["sources"].join("\0"))
    counted = slots.group_by(["population", "item_id", "sources"]).agg(slots=slots.count())
    sources = counted["sources"].split("\0").unique().sort()
    sources = ibis.ifelse(counted["sources"] == "", ibis.array([NO_SOURCE]), sources)
    counted = counted.select("population", "item_id", "slots", sources=sources)
    return window.log.collect(counted.group_by(["population", "item_id", "sources"]).agg(slots=counted["slots"].sum()))


def source_shares(window: Window, slots: pa.Table | None = None) -> tuple[SourceShare, ...]:
    """The LED paper's Table 5: whose proposals fill the slots of each population, by population, then by share."""
    table = window.log.kept(slots_by_sources(window) if slots is None else slots)
    totals = table.group_by("population").agg(total=table["slots"].sum())
    counted = _by_source(table).group_by(["population", "source"]).agg(
        split=lambda t: (t["slots"] * t["weight"]).sum(),
        proposed=lambda t: t["slots"].sum(),
        alone=lambda t: t["slots"].sum(where=t["weight"] == 1).fill_null(0),
    )  # fmt: skip
    rows = window.log.collect(counted.join(totals, "population")).to_pylist()
    rows.sort(key=lambda row: (row["population"], -row["split"], row["source"]))
    return tuple(
        SourceShare(
            row["population"],
            row["source"],
            *(float(row[part]) / float(row["total"]) for part in ("split", "proposed", "alone")),
        )
        for row in rows
    )


def sales_per_day(window: Window, shown: Served, log_end: datetime) -> tuple[Day, ...]:
    """The window's sales by the UTC day of the sale, every day from the first display to the last display or sale.

    A day is open while a display of that day is younger than the attribution window.
    """
    sold = window.sales.mutate(day=utc_day(window.sales["ts"])).group_by(["day", "population"])
    rows = window.log.collect(sold.agg(sales=lambda t: t.count(), order_value=lambda t: t["order_value"].sum()))
    bought = {(row["day"], row["population"]): row for row in rows.to_pylist()}
    displays: dict[tuple[int, str], int] = {}
    for row in shown.rows:
        if row["counted"]:
            displays[row["day"], row["population"]] = displays.get((row["day"], row["population"]), 0) + row["displays"]
    if not displays:
        return ()
    numbers = [day for day, _ in (*displays, *bought)]
    still_open = int((log_end - timedelta(days=window.attribution.window_days)).timestamp()) // 86_400
    return tuple(
        Day(
            date_of(day),
            population,
            displays.get((day, population), 0),
            bought.get((day, population), {}).get("sales", 0),
            bought.get((day, population), {}).get("order_value", 0.0),
            day >= still_open,
        )
        for day in range(min(numbers), max(numbers) + 1)
        for population in sorted({name for _, name in displays})
    )


def popularity(window: Window, views: pa.Table, slots: pa.Table) -> tuple[tuple[float, ...], tuple[Popularity, ...]]:
    """Bin edges, and per source the views of the items it placed (LED paper, Figure 6).

    Args:
        views: item_id, views. An item that is not in it has none.
        slots: of `slots_by_sources`.
    """
    split = _by_source(window.log.kept(slots))
    placed = split.group_by(["source", "item_id"]).agg(weight=(split["slots"] * split["weight"]).sum())
    known = window.log.kept(views).select("item_id", "views")
    joined = placed.left_join(known, "item_id").select("source", "weight", "views")
    rows = window.log.collect(joined.mutate(views=joined["views"].fill_null(0)).order_by(["source", "views"]))
    if not len(rows):
        return (), ()
    sources = np.array(rows["source"].to_pylist())
    weight, seen = (rows[name].to_numpy().astype(np.float64) for name in ("weight", "views"))
    decades = max(1, int(np.ceil(np.log10(max(2.0, seen.max() + 1)))))
    edges = np.concatenate([[0.0], np.logspace(0, decades, decades * POPULARITY_BINS_PER_DECADE + 1)])
    return tuple(edges.tolist()), tuple(
        _popularity_of(name, seen[sources == name], weight[sources == name], edges) for name in sorted(set(sources))
    )


def latency(window: Window) -> tuple[StageLatency, ...]:
    """Percentiles of the time spent in each stage, microseconds, in the order logged, and of their sum per display."""
    shown = window.displays("stage_us", counted=False)
    stages, times = shown["stage_us"].keys(), shown["stage_us"].values()
    summed = (stages.length() > 0) & ~stages.contains(TOTAL)
    stages = ibis.ifelse(summed, stages.concat(ibis.array([TOTAL])), stages)
    times = ibis.ifelse(summed, times.concat(ibis.array([times.sums()])), times)
    spent = shown.select(stage=stages.unnest(), us=times.unnest(), place=ibis.range(0, stages.length()).unnest())
    counted = spent.group_by(["stage", "us"]).agg(displays=spent.count(), place=spent["place"].min())
    rows = window.log.collect(counted.order_by(["stage", "us"]))
    names = np.array(rows["stage"].to_pylist(), dtype=object)
    places, values, counts = (rows[name].to_numpy() for name in ("place", "us", "displays"))
    order = sorted(set(names), key=lambda stage: (stage == TOTAL, places[names == stage].min(), stage))
    found = []
    for stage in order:
        mine = names == stage
        points = (_percentile(values[mine], counts[mine], point) for point in (50, 99))
        found.append(StageLatency(stage, int(counts[mine].sum()), *points))
    return tuple(found)


def _percentile(values: np.ndarray, counts: np.ndarray, point: float) -> float:
    """As numpy.percentile of `values` (ascending), each occurring `counts` times."""
    until = np.cumsum(counts)
    place = point / 100 * (until[-1] - 1)
    low, high = (values[np.searchsorted(until, edge, side="right")] for edge in (np.floor(place), np.ceil(place)))
    return float(low + (high - low) * (place - np.floor(place)))


def _by_source(slots: Table) -> Table:
    """One row per row of `slots_by_sources` and source, of weight 1 / (number of the slot's sources)."""
    weight = 1.0 / slots["sources"].length()
    return slots.select("population", "item_id", "slots", weight=weight, source=slots["sources"].unnest())


def _popularity_of(source: str, views: np.ndarray, weight: np.ndarray, edges: np.ndarray) -> Popularity:
    """`views` ascending, as `popularity` orders them."""
    total = float(weight.sum())
    middle = int(np.searchsorted(np.cumsum(weight), total / 2))
    shares = np.histogram(views, bins=edges, weights=weight)[0] / total
    mean, unseen = float(views @ weight / total), float(weight[views == 0].sum() / total)
    return Popularity(str(source), total, mean, float(views[middle]), unseen, tuple(shares.tolist()))
