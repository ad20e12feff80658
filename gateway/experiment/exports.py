"""The report as files and tables: JSON values, comparisons as rows, users as rows."""

import dataclasses
import datetime as dt
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from data.files import replaced_file
from data.settings import Settings
from gateway.experiment.formatting import meaning
from gateway.experiment.model import Comparison, Report
from gateway.experiment.statistics.moments import NotEstimable
from gateway.experiment.statistics.uplift import Difference, Uplift


def report_figures(report: Report) -> dict[str, Any]:
    """The report as JSON values: dates in ISO 8601, what is not estimable as {"not_estimable_yet": reason}."""
    figures: dict[str, Any] = as_json(report)
    return figures


def uplift_table(report: Report) -> pa.Table:
    """One row per comparison (of segments, too): numbers as numbers, null where there is no estimate, and a sentence.

    Uplifts are fractions; `difference` is per user, in the metric's unit.
    """
    every: list[tuple[str | None, Comparison]] = [(None, one) for one in (*report.increments, *report.comparisons)]
    every += [(row.segment, row.comparison) for row in report.segments]
    rows = [_row(report, segment, one) for segment, one in every]
    return pa.Table.from_pylist(rows, pa.schema([(name, _TYPES.get(name, pa.float64())) for name in _COLUMNS]))


def write_csv(report: Report, path: Path) -> None:
    """`uplift_table` as CSV, whole or not at all."""
    write_table(uplift_table(report), path)


def write_table(table: pa.Table, path: Path) -> None:
    """A table as CSV, whole or not at all."""
    with replaced_file(path) as beside:
        pacsv.write_csv(table, beside)


def write_users(report: Report, path: Path) -> None:
    """One row per user as Parquet, whole or not at all."""
    with replaced_file(path) as beside:
        pq.write_table(report.users, beside, compression="zstd")


_COLUMNS = ("segment", "metric", "population", "over", "added", "uplift", "low", "high", "p", "always_valid_low",
            "always_valid_high", "winsorised", "without_largest", "permutation_p", "cuped", "post_stratified",
            "look_low", "look_high", "bootstrap_low", "bootstrap_high", "difference", "difference_low",
            "difference_high", "conclusion", "meaning")  # fmt: skip
_TYPES = {name: pa.string() for name in ("segment", "metric", "population", "over", "added", "conclusion", "meaning")}


def _row(report: Report, segment: str | None, one: Comparison) -> dict[str, Any]:
    tails = one.tails
    row: dict[str, Any] = {
        "segment": segment,
        "metric": one.metric,
        "population": one.population,
        "over": one.baseline,
        "added": " ".join(one.added),
        "winsorised": None if tails is None else _value(tails.winsorised),
        "without_largest": None if tails is None else _value(tails.without_largest),
        "permutation_p": None if tails is None else tails.permutation_p,
        "cuped": _value(one.adjusted),
        "post_stratified": _value(one.stratified),
        "conclusion": one.conclusion,
        "meaning": meaning(report, one),
    }
    if isinstance(one.uplift, Uplift):
        row |= {"uplift": one.uplift.value, "low": one.uplift.low, "high": one.uplift.high, "p": one.uplift.p_value}
        row |= dict(zip(("always_valid_low", "always_valid_high"), one.uplift.always_valid, strict=True))
    for name, interval in (("look", one.group_sequential), ("bootstrap", one.bootstrap)):
        if isinstance(interval, tuple):
            row |= {f"{name}_low": interval[0], f"{name}_high": interval[1]}
    if isinstance(one.difference, Difference):
        found = one.difference
        row |= {"difference": found.value, "difference_low": found.low, "difference_high": found.high}
    return row


def _value(found: Uplift | NotEstimable | None) -> float | None:
    return found.value if isinstance(found, Uplift) else None


def as_json(value: Any) -> Any:
    """Frozen values as JSON values; tables are left out."""
    if isinstance(value, NotEstimable):
        return {"not_estimable_yet": value.reason}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        return {name: as_json(one) for name, one in fields.items() if not isinstance(one, pa.Table)}
    if isinstance(value, Settings):
        return value.model_dump()
    if isinstance(value, Mapping):
        return {str(key): as_json(one) for key, one in value.items()}
    if isinstance(value, tuple | list):
        return [as_json(one) for one in value]
    if isinstance(value, dt.date):
        return value.isoformat()
    return None if isinstance(value, float) and not math.isfinite(value) else value
