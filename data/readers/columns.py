"""Columns of a source become typed Arrow columns; the first cell that will not do is named in a DataError.

Whole columns at a time: a check makes a mask, and only a failed one looks at rows. "Nothing" is an empty string in CSV
and null in Parquet.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from data.errors import DataError
from data.readers.source import Source
from data.schema import TIMESTAMP

_NUMBER = r"^\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*$"
_DATE = r"^\s*\d{4}-\d{2}-\d{2}"
_CONTROL = r"[\x00-\x1f\x7f]"
_LATEST = int(pd.Timestamp("2200-01-01", tz="UTC").timestamp()) * 1_000_000


def ids(source: Source, name: str) -> pa.ChunkedArray:
    """Required strings that are neither empty nor hold control characters; whole numbers are taken as their digits."""
    column = _strings(source, name, numbers_too=True)
    _refuse(source, name, column, pc.is_null(column), "expected an id, found nothing")
    _refuse(source, name, column, pc.match_substring_regex(column, r"^\s*$"), "expected an id, found {}")
    _refuse(source, name, column, pc.match_substring_regex(column, _CONTROL), "expected an id on one line, found {}")
    return column


def optional_ids(source: Source, name: str) -> pa.ChunkedArray:
    """The same where nothing is allowed, and becomes null; all null where the file lacks the column."""
    if not source.has(name):
        return pa.chunked_array([pa.nulls(len(source), pa.string())])
    column = _strings(source, name, numbers_too=True)
    column = pc.if_else(pc.equal(column, ""), None, column)
    _refuse(source, name, column, pc.match_substring_regex(column, _CONTROL), "expected an id on one line, found {}")
    return column


def texts(source: Source, name: str, default: str = "") -> pa.ChunkedArray:
    """Strings, `default` where there is nothing or where the file lacks the column."""
    if not source.has(name):
        return pa.chunked_array([pa.repeat(pa.scalar(default), len(source))])
    column = pc.fill_null(_strings(source, name, numbers_too=True), default)
    return pc.if_else(pc.equal(column, ""), default, column) if default else column


def choices(source: Source, name: str, meaning: Mapping[str, str]) -> pa.ChunkedArray:
    """Required strings, each one of the keys of `meaning`, turned into what it means there."""
    column = _strings(source, name, numbers_too=True)
    place = pc.index_in(column, pa.array(list(meaning), pa.string()))
    _refuse(source, name, column, pc.is_null(place), f"expected one of {', '.join(meaning)}, found {{}}")
    return pc.take(pa.array(list(meaning.values()), pa.string()), place)


def flags(source: Source, name: str, default: bool) -> pa.ChunkedArray:
    """Booleans: true/false, yes/no, 1/0 in any case; `default` for nothing or a missing column."""
    if not source.has(name):
        return pa.chunked_array([pa.repeat(pa.scalar(default), len(source))])
    column = source.column(name)
    if pa.types.is_boolean(column.type):
        return pc.fill_null(column, default)
    column = pc.utf8_lower(_strings(source, name, numbers_too=True))
    known = pa.array(["true", "yes", "1", "false", "no", "0", ""])
    place = pc.index_in(pc.fill_null(column, ""), known)
    _refuse(source, name, column, pc.is_null(place), "expected true or false, found {}")
    return pc.take(pa.array([True, True, True, False, False, False, default]), place)


def numbers(source: Source, name: str, least: float | None = 0.0) -> pa.ChunkedArray:
    """float64, finite and not below `least`; null for nothing, or all of it where the file lacks the column."""
    if not source.has(name):
        return pa.chunked_array([pa.nulls(len(source), pa.float64())])
    column = source.column(name)
    expected = "expected a finite number" + ("" if least is None else f" of at least {least:g}") + ", found {}"
    if _is_number(column.type):
        found = pc.cast(column, pa.float64(), safe=False)
    else:
        column = _strings(source, name)
        column = pc.if_else(pc.match_substring_regex(column, r"^\s*$"), None, column)
        _refuse(source, name, column, pc.invert(pc.match_substring_regex(column, _NUMBER)), expected)
        found = pc.cast(pc.utf8_trim_whitespace(column), pa.float64())
    fits = pc.and_(pc.is_finite(found), pc.less_equal(pc.abs(found), float(np.finfo(np.float32).max)))
    _refuse(source, name, column, pc.invert(fits), expected)
    if least is not None:
        _refuse(source, name, column, pc.less(found, least), expected)
    return found


def times(source: Source, name: str) -> pa.ChunkedArray:
    """UTC microseconds from timestamps, ISO-8601 (no zone: UTC), or Unix seconds, milliseconds or microseconds.

    A number below 1e11 counts seconds (up to the year 5138), below 1e14 milliseconds, else microseconds. Times before
    1970 and after 2199 are refused: they are other units, or placeholders.
    """
    column = source.column(name)
    expected = "expected a time (ISO-8601, or Unix seconds, milliseconds or microseconds) from 1970 to 2199, found "
    if pa.types.is_temporal(column.type) and not (pa.types.is_time(column.type) or pa.types.is_duration(column.type)):
        micros = _micros_of_timestamps(
            column if pa.types.is_timestamp(column.type) else pc.cast(column, pa.timestamp("s"))
        )
    elif _is_number(column.type):
        micros = _micros_of_numbers(pc.cast(column, pa.float64(), safe=False))
    else:
        column = _strings(source, name)
        micros = _micros_of_text(column)
    _refuse(source, name, column, pc.is_null(column), expected + "nothing")
    in_range = pc.and_(pc.greater_equal(micros, 0), pc.less(micros, _LATEST))
    _refuse(source, name, column, pc.invert(pc.fill_null(in_range, False)), expected + "{}")
    return pc.cast(micros, TIMESTAMP)


def _micros_of_timestamps(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Microseconds from timestamps of any unit; what does not fit is cut to a time that `times` refuses."""
    ticks = pc.cast(column, pa.int64())
    if column.type.unit == "ns":
        return pc.divide(ticks, 1000)
    scale = {"s": 1_000_000, "ms": 1_000, "us": 1}[column.type.unit]
    within = pc.min_element_wise(pc.max_element_wise(ticks, -1, skip_nulls=False), _LATEST // scale, skip_nulls=False)
    return pc.multiply(within, scale)


def _micros_of_numbers(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Microseconds from Unix times of any unit, null where there is none or it is not finite."""
    found: NDArray[np.float64] = pc.fill_null(values, np.nan).to_numpy()
    size = np.abs(found)
    scale = np.where(size < 1e11, 1e6, np.where(size < 1e14, 1e3, 1.0))
    micros = np.where(np.isfinite(found), found, -1.0) * scale
    return pa.chunked_array([pa.array(np.round(np.clip(micros, -1, 2.0**62)).astype(np.int64))])


def _micros_of_text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """The same from text, numbers and dates mixed at will."""
    is_number = pc.match_substring_regex(column, _NUMBER)
    found = _micros_of_numbers(pc.cast(pc.utf8_trim_whitespace(pc.if_else(is_number, column, None)), pa.float64()))
    if pc.all(is_number).as_py():
        return found
    dates = pc.if_else(pc.match_substring_regex(column, _DATE), pc.utf8_trim_whitespace(column), None)
    dates = pc.replace_substring_regex(dates, r" ?UTC$", "Z")
    parsed = pd.to_datetime(dates.to_pandas(), format="ISO8601", utc=True, errors="coerce").dt.as_unit("us")
    return pc.if_else(is_number, found, pc.cast(pa.chunked_array([pa.array(parsed, from_pandas=True)]), pa.int64()))


def _strings(source: Source, name: str, numbers_too: bool = False) -> pa.ChunkedArray:
    column = source.column(name)
    if pa.types.is_dictionary(column.type):
        column = pc.cast(column, column.type.value_type)
    kind = column.type
    textual = pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    if not (textual or pa.types.is_null(kind) or (numbers_too and pa.types.is_integer(kind))):
        expected = "strings or whole numbers" if numbers_too else "numbers or strings"
        raise DataError(f"{source.label}: column {name!r}: expected {expected}, found type {kind}")
    return pc.cast(column, pa.string())


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def _refuse(source: Source, name: str, column: pa.ChunkedArray, bad: pa.ChunkedArray, problem: str) -> None:
    """Fail at the first row where `bad` is true; `{}` in `problem` becomes what the cell holds."""
    row = pc.index(bad, True).as_py()
    if row >= 0:
        source.fail(name, row, problem.replace("{}", _shown(column[row])))


def _shown(cell: pa.Scalar) -> str:
    """What a cell holds, for an error's sentence."""
    try:
        value = cell.as_py()
    except (ValueError, OverflowError):  # a timestamp that Python's calendar lacks
        return f"a {cell.type} far beyond"
    if value is None or value == "":
        return "nothing"
    shown = repr(value) if isinstance(value, str) else str(value)
    return shown if len(shown) < 80 else shown[:77] + "..."
