"""What a recommender shows users beside what it brings: how much of the catalogue, how evenly, how popular, how varied.

Computed by DuckDB from the window's displays, only when asked for. Standard errors leave out a twentieth of the users
at a time (delete-a-group jackknife; Kott 2001), so they hold for every measure alike.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import ibis
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from ibis.expr.types import Table

from gateway.experiment.diversity_measures import (
    COLLAPSED,
    MEASURES,
    Counts,
    Diversity,
    DiversityDay,
    Floats,
    MerchantExposure,
    expected_coverage,
    gini,
    jackknifed,
)
from gateway.experiment.model import Check, Verdict
from gateway.experiment.window import Window, date_of, utc_day

GROUPS = 20
LEAST_SLOTS = 50
"""Of a day and population, that it is measured."""

MOST_MERCHANTS = 20
SMOOTHING = 0.01
"""Of the banner's categories by the user's, so that a category that is not shown costs much, not everything."""


def diversity_of(window: Window, catalog: pa.Table, views: pa.Table, names: Sequence[str]) -> Diversity:
    """Measure the window.

    Args:
        catalog: of CATALOG_SCHEMA. views: item_id, views before the test. names: populations, in their order.
    """
    items = _Items(catalog, views)
    shown = _by_item(window, ("population", "bucket"))
    banners = window.log.collect(_banner_sums(window))
    counts = {name: items.counts(_only(shown, name), "bucket", GROUPS) for name in names}
    sums = {name: _sums(_only(banners, name), GROUPS) for name in names}
    filled = [int(one.sum()) for one in counts.values() if one.sum()]
    slots = int(0.9 * min(filled, default=0))  # with a group left out there are so many still
    populations = {
        name: jackknifed(counts[name], sums[name], lambda count, sum: items.measures(count, sum, slots))
        for name in names
    }
    days, day_slots = _days(window, items, names, banners)
    return Diversity(
        slots=slots,
        day_slots=day_slots,
        items=len(items.views),
        new_share=float(items.new.mean()) if len(items.new) else 0.0,
        populations=populations,
        days=days,
        merchants=items.merchants_of(counts),
    )


def diversity_check(found: Diversity, population: str, over: str) -> Check:
    """The guardrail of a comparison: does the added source narrow what users see?"""
    worse, titles = found.worse(population, over), {one.key: one.title for one in MEASURES}
    if not worse:
        return Check("Diversity", "ok", f"{population} shows users nothing narrower than {over}")
    told = ", ".join(f"{titles[key].lower()} {change:+.0%}" for key, change in worse.items())
    collapsed = any(-worse.get(key, 0.0) > COLLAPSED for key in ("coverage", "variety"))
    return Check("Diversity", "alarm" if collapsed else "look", f"{population} against {over}: {told}")


def guarded(verdict: Verdict, check: Check) -> Verdict:
    """The verdict with the guardrail: a collapse is rolled back, anything else that is worse is said."""
    if check.status not in ("look", "alarm") or verdict.decision == "broken":
        return verdict
    decision = "roll back" if check.status == "alarm" else verdict.decision
    return replace(verdict, decision=decision, reasons=(*verdict.reasons, f"Guardrail diversity: {check.sentence}."))


class _Items:
    """The catalogue in numbers: views, merchants, and what a merchant's users view on average."""

    def __init__(self, catalog: pa.Table, views: pa.Table) -> None:
        self.ids = catalog["item_id"].combine_chunks().cast(pa.string())
        place = pc.index_in(self.ids, value_set=views["item_id"].combine_chunks().cast(pa.string()))
        found = pc.fill_null(views["views"].take(pc.fill_null(place, 0)) if len(views) else pa.nulls(len(place)), 0)
        known = pc.is_valid(place).to_numpy(zero_copy_only=False)
        self.views: Floats = np.where(known, found.to_numpy(zero_copy_only=False).astype(np.float64), 0.0)
        self.new = self.views == 0
        merchants = catalog["merchant_id"].combine_chunks().dictionary_encode()
        self._merchants, self._names = merchants.indices.to_numpy(), merchants.dictionary.to_pylist()
        seen = np.bincount(self._merchants, self.views)
        with np.errstate(divide="ignore", invalid="ignore"):
            self._usual = (np.bincount(self._merchants, self.views**2) / seen)[self._merchants]

    def counts(self, shown: pa.Table, column: str, groups: int) -> Counts:
        """int64 [items, groups]: slots of each item; items beyond the catalogue are left out."""
        item = pc.index_in(shown["item_id"], value_set=self.ids).combine_chunks()
        known = pc.is_valid(item).to_numpy(zero_copy_only=False)
        rows = pc.fill_null(item, 0).to_numpy(zero_copy_only=False)[known].astype(np.int64)
        group, slots = (shown[name].to_numpy()[known] for name in (column, "slots"))
        flat = np.bincount(rows * groups + group, slots, len(self.ids) * groups)
        return flat.astype(np.int64).reshape(len(self.ids), groups)

    def measures(self, counts: Counts, sums: Floats, slots: int) -> Floats:
        """float64 [MEASURES] of one population. `counts`: int64 [items]. `sums`: of `_banner_sums`."""
        total = counts.sum()
        if not total:
            return np.full(len(MEASURES), np.nan)
        known = counts * np.isfinite(self._usual)
        with np.errstate(divide="ignore", invalid="ignore"):
            lift = (counts @ self.views) / (known @ np.nan_to_num(self._usual))
            new = (counts @ self.new / total) / self.new.mean()
            variety, calibration = sums[0] / sums[1], sums[2] / sums[3]
        return np.array([expected_coverage(counts, slots), gini(counts), lift, variety, calibration, new])

    def merchants_of(self, counts: Mapping[str, Counts]) -> tuple[MerchantExposure, ...]:
        """The merchants with most slots. `counts`: by population, as of `counts`."""
        total = np.sum([one.sum(axis=1) for one in counts.values()], axis=0)
        slots, items = np.bincount(self._merchants, total), np.bincount(self._merchants)
        shown = {name: np.bincount(self._merchants, one.sum(axis=1) > 0) / items for name, one in counts.items()}
        order = np.argsort(-slots, kind="stable")[:MOST_MERCHANTS]
        return tuple(
            MerchantExposure(
                str(self._names[one]), int(items[one]), int(slots[one]),
                {name: float(part[one]) for name, part in shown.items()},
            )
            for one in order.tolist() if slots[one]
        )  # fmt: skip


def _by_item(window: Window, by: tuple[str, ...]) -> pa.Table:
    """The columns `by`, item_id, slots."""
    shown = _keyed(window.displays("population", "user_id", "ts", "slots.item_id"))
    slots = shown.select(*by, item_id=shown["slots"].map(lambda one: one["item_id"]).unnest())
    return window.log.collect(slots.group_by([*by, "item_id"]).agg(slots=slots.count()))


def _banner_sums(window: Window) -> Table:
    """By population, bucket and day: different pairs and pairs of slots (each banner's mean counts once), divergence
    and banners with one.

    Steck 2018, equations 6 and 7: sum_c p(c) log(p(c) / q~(c)), p over the categories of the user's newest items, q
    over the banner's, q~ = (1 - SMOOTHING) q + SMOOTHING p.
    """
    shown = _keyed(window.displays("population", "user_id", "ts", "slots.category", "recent_categories"))
    shown = shown.mutate(own=shown["recent_categories"], cats=shown["slots"].map(lambda one: one["category"]))
    cats, own = shown["cats"], shown["own"]
    size, past = cats.length(), own.length()
    pairs = size * (size - 1)
    alike = cats.map(lambda a: cats.filter(lambda b: b == a).length()).sums() - size

    def part(values: Any, count: Any, category: Any) -> Any:
        return values.filter(lambda one: one == category).length() / count

    def term(category: Any) -> Any:
        p, q = part(own, past, category), part(cats, size, category)
        return p * (p / ((1 - SMOOTHING) * q + SMOOTHING * p)).log()

    several, known = size > 1, (size > 0) & (past > 0)
    grouped = shown.mutate(
        varied=ibis.ifelse(several, 1 - alike / pairs, 0.0),
        several=several.cast("int64"),
        divergence=ibis.ifelse(known, own.unique().map(term).sums(), 0.0),
        known=known.cast("int64"),
    ).group_by(["population", "bucket", "day"])
    return grouped.agg(**{name: (lambda t, name=name: t[name].sum()) for name in _SUMS})


_SUMS = ("varied", "several", "divergence", "known")


def _keyed(shown: Table) -> Table:
    return shown.mutate(bucket=shown["user_id"].hash().abs() % GROUPS, day=utc_day(shown["ts"]))


def _only(table: pa.Table, population: str) -> pa.Table:
    return table.filter(pc.equal(table["population"], population))


def _sums(rows: pa.Table, groups: int, column: str = "bucket") -> Floats:
    """float64 [groups, 4]: `_SUMS`."""
    group = rows[column].to_numpy()
    values = (pc.fill_null(rows[name], 0).to_numpy().astype(np.float64) for name in _SUMS)
    return np.stack([np.bincount(group, one, groups) for one in values], axis=1)


def _days(
    window: Window, items: _Items, names: Sequence[str], banners: pa.Table
) -> tuple[tuple[DiversityDay, ...], int]:
    """The measures by day, and the number of slots drawn for each day's coverage. `banners`: of `_banner_sums`."""
    shown = _by_item(window, ("population", "day"))
    if not len(shown):
        return (), 0
    first = int(pc.min(banners["day"]).as_py())  # perhaps of banners without a slot
    shown, banners = (_counted_from(first, one) for one in (shown, banners))
    count = int(pc.max(banners["day"]).as_py()) + 1
    sums = {name: _sums(_only(banners, name), count, "day") for name in names}
    totals = shown.group_by(["population", "day"]).aggregate([("slots", "sum")]).to_pylist()
    enough = sorted((row["slots_sum"], row["population"], row["day"]) for row in totals)
    enough = [row for row in enough if row[0] >= LEAST_SLOTS]
    slots = int(0.9 * enough[0][0]) if enough else 0  # some may be of items that the catalogue lacks
    found = []
    for total, name, day in sorted(enough, key=lambda row: (row[2], row[1])):
        mine = shown.filter(pc.and_(pc.equal(shown["population"], name), pc.equal(shown["day"], day)))
        one = items.counts(mine.set_column(1, "day", pa.repeat(0, len(mine))), "day", 1)[:, 0]
        values = dict(zip(_KEYS, items.measures(one, sums[name][day], slots).tolist(), strict=True))
        found.append(DiversityDay(date_of(first + day), name, int(total), values))
    return tuple(found), slots


_KEYS = tuple(one.key for one in MEASURES)


def _counted_from(first: int, table: pa.Table) -> pa.Table:
    return table.set_column(table.column_names.index("day"), "day", pc.subtract(table["day"], first))
