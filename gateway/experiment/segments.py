"""Comparisons among the displays of one device, country, merchant or day at a time."""

from collections.abc import Mapping, Sequence
from typing import Literal, get_args

import pyarrow as pa
import pyarrow.compute as pc
from ibis.expr.types import Table

from data.attribution import user_outcomes
from gateway.experiment.aggregates import with_outcomes
from gateway.experiment.comparisons import Comparer
from gateway.experiment.model import METRICS, ReportError, SegmentRow
from gateway.experiment.statistics.moments import NotEstimable
from gateway.experiment.statistics.multiple import holm
from gateway.experiment.statistics.tails import Tails
from gateway.experiment.statistics.uplift import Uplift
from gateway.experiment.window import Window

By = Literal["device", "country", "merchant", "day"]
BY: tuple[str, ...] = get_args(By)
MOST_SEGMENTS = 20
"""The largest by displays are shown."""


def segments_of(
    window: Window, by: str, names: Sequence[str], sources: Mapping[str, Sequence[str]], pair: tuple[str, str]
) -> tuple[SegmentRow, ...]:
    """Each metric of a population over another (`pair`) in each segment, by metric, then by segment.

    A user counts in every segment in which they were shown a banner, with what those banners earned; a day is that of
    the display, so that days add up as windows do.

    Raises:
        ReportError: `by` is none of `By`.
    """
    if by not in BY:
        raise ReportError(f"segments by {by!r}: expected one of {', '.join(BY)}")
    column = {"merchant": "merchant_id", "day": "ts"}.get(by, by)
    shown = window.displays("user_id", "population", column)
    shown = shown.mutate(segment=_segment(shown, by, column))
    unit = ("segment", "population", "user_id")
    seen = window.log.collect(shown.group_by(list(unit)).agg(displays=shown.count()))
    clicks = window.clicks.mutate(segment=_segment(window.clicks, by, "shown_ts" if by == "day" else column))
    earned = window.log.collect(user_outcomes(clicks, window.sales, unit))
    users = with_outcomes(seen, earned, list(unit))
    users = users.append_column("slots", pa.repeat(0, len(users)))
    sizes = users.group_by("segment").aggregate([("displays", "sum")]).sort_by([("displays_sum", "descending")])
    chosen = sizes["segment"].to_pylist()[:MOST_SEGMENTS]
    comparers = {one: Comparer(users.filter(pc.equal(users["segment"], one)), names, sources) for one in sorted(chosen)}
    return tuple(row for metric in METRICS for row in _rows(comparers, metric.key, pair))


def _rows(comparers: Mapping[str, Comparer], metric: str, pair: tuple[str, str]) -> list[SegmentRow]:
    found = {one: comparer.compare(metric, *pair) for one, comparer in comparers.items()}
    p_values = {name: p for name, one in found.items() if (p := careful_p_value(one.uplift, one.tails)) is not None}
    adjusted = dict(zip(p_values, holm(list(p_values.values())), strict=True))
    return [
        SegmentRow(one, sum(comparers[one].users(name) for name in pair), comparison, adjusted.get(one))
        for one, comparison in found.items()
    ]


def careful_p_value(uplift: Uplift | NotEstimable, tails: Tails | None) -> float | None:
    """The greater of the interval's p and the permutation test's: segments are small, and their tails heavy."""
    if not isinstance(uplift, Uplift):
        return None
    return uplift.p_value if tails is None else max(uplift.p_value, tails.permutation_p)


def _segment(table: Table, by: str, column: str) -> object:
    return table[column].strftime("%Y-%m-%d") if by == "day" else table[column]
