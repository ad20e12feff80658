"""Columns of times become UTC microseconds, whatever their unit; what is no time of an event is refused."""

import re

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from data.errors import DataError
from data.readers.columns import NUMBER, is_number, refuse_cells, strings
from data.readers.source import Source
from data.schema import DAY_US, TIMESTAMP

UNITS = {"seconds": 1e6, "milliseconds": 1e3, "microseconds": 1.0, "nanoseconds": 1e-3}
TIME_FORMATS = (*UNITS, "excel", "relative")
"""What `--time-format` knows by name: units since 1970, Excel's days, seconds since an unknown start; else a pattern
such as %d.%m.%Y %H:%M."""

_DATE = r"^\s*\d{4}-\d{2}-\d{2}"
_EARLIEST, _LATEST = (int(pd.Timestamp(day, tz="UTC").timestamp()) * 1_000_000 for day in ("1990-01-01", "2200-01-01"))
START = int(pd.Timestamp("2000-01-01", tz="UTC").timestamp()) * 1_000_000
"""Where relative times, and rows without any, begin: 2000-01-01."""
_EXCEL_START = int(pd.Timestamp("1899-12-30", tz="UTC").timestamp()) * 1_000_000


def times(source: Source, name: str, form: str | None = None) -> pa.ChunkedArray:
    """UTC microseconds from timestamps, ISO-8601 (no zone: UTC), or Unix seconds, milliseconds or microseconds.

    A number below 1e11 counts seconds (up to the year 5138), below 1e14 milliseconds, else microseconds. Times before
    1990 and after 2199 are refused: they are other units, or placeholders.

    Args:
        form: one of TIME_FORMATS, or a pattern of strptime; None: as above.
    """
    column = source.column(name)
    expected = (
        f"expected a time ({form})"
        if form
        else "expected a time (ISO-8601, or Unix seconds, milliseconds or microseconds)"
    ) + " from 1990 to 2199"
    kind = column.type
    if pa.types.is_temporal(kind) and not (pa.types.is_time(kind) or pa.types.is_duration(kind)):
        micros = _of_timestamps(column if pa.types.is_timestamp(kind) else pc.cast(column, pa.timestamp("s")))
    elif form is not None:
        column = column if is_number(kind) else strings(source, name, numbers_too=True)
        micros = _of_form(column, form)
    elif is_number(kind):
        micros = _of_numbers(pc.cast(column, pa.float64(), safe=False))
    else:
        column = strings(source, name)
        micros = _of_text(column)
    nothing = pc.is_null(column)
    refuse_cells(source, name, column, nothing, expected)
    in_range = pc.and_(pc.greater_equal(micros, _EARLIEST), pc.less(micros, _LATEST))
    late = pc.and_(pc.invert(pc.fill_null(in_range, False)), pc.invert(nothing))
    refuse_cells(source, name, column, late, expected, _hint if form is None else lambda cell: "")
    return pc.cast(micros, TIMESTAMP)


def require_time_format(form: str | None) -> None:
    """Raises DataError for a form that is neither a unit nor a pattern."""
    if form is not None and form not in TIME_FORMATS and "%" not in form:
        raise DataError(f"--time-format {form!r}: expected one of {', '.join(TIME_FORMATS)}, or a pattern as %Y%m%d")
    if form is not None and "%" in form:
        try:
            pd.to_datetime(pd.Series(["-"]), format=form, utc=True, errors="coerce")
        except (ValueError, re.error) as error:
            raise DataError(f"--time-format {form!r}: expected a pattern as %Y%m%d; {error}") from None


def in_order(rows: NDArray[np.int64]) -> pa.ChunkedArray:
    """Times for rows without any: one second apart, row number k (`rows` [n]) k seconds after START."""
    return pa.chunked_array([pa.array(START + 1_000_000 * rows).cast(TIMESTAMP)])


def _hint(cell: str) -> str:
    """What a number that is no Unix time of an event may be."""
    digits = cell.strip("'")
    pattern = {8: "%Y%m%d", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S"}.get(len(digits))
    if pattern and re.fullmatch(r"(19|20|21)\d{2}(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])\d*", digits):
        return f" (a date? --time-format {pattern})"
    try:
        number = float(digits)
    except ValueError:
        return ""
    if number == 0:
        return " (a placeholder for no time)"
    if 30_000 <= number < 80_000:
        return " (Excel's days? --time-format excel)"
    return " (seconds since another start? --time-format relative)" if 0 < number < _EARLIEST / 1e6 else ""


def _of_form(column: pa.ChunkedArray, form: str) -> pa.ChunkedArray:
    if "%" in form:
        cells = pc.utf8_trim_whitespace(pc.cast(column, pa.string()))
        parsed = pd.to_datetime(cells.to_pandas(), format=form, utc=True, errors="coerce").dt.as_unit("us")
        return pc.cast(pa.chunked_array([pa.array(parsed, from_pandas=True)]), pa.int64())
    if not is_number(column.type):
        is_one = pc.match_substring_regex(column, NUMBER)
        column = pc.utf8_trim_whitespace(pc.if_else(is_one, column, None))
    found: NDArray[np.float64] = pc.fill_null(pc.cast(column, pa.float64(), safe=False), np.nan).to_numpy()
    if form == "excel":
        micros = np.where(found > 0, found * DAY_US + _EXCEL_START, np.nan)
    elif form == "relative":
        micros = np.where(found >= 0, found * 1e6 + START, np.nan)
    else:
        micros = found * UNITS[form]
    return _whole(micros)


def _of_timestamps(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Microseconds from timestamps of any unit; what does not fit is cut to a time that `times` refuses."""
    ticks = pc.cast(column, pa.int64())
    if column.type.unit == "ns":
        return pc.divide(ticks, 1000)
    scale = {"s": 1_000_000, "ms": 1_000, "us": 1}[column.type.unit]
    within = pc.min_element_wise(pc.max_element_wise(ticks, -1, skip_nulls=False), _LATEST // scale, skip_nulls=False)
    return pc.multiply(within, scale)


def _of_numbers(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Microseconds from Unix times of any unit; a time that is refused where there is none or it is not finite."""
    found: NDArray[np.float64] = pc.fill_null(values, np.nan).to_numpy()
    size = np.abs(found)
    return _whole(found * np.where(size < 1e11, 1e6, np.where(size < 1e14, 1e3, 1.0)))


def _whole(micros: NDArray[np.float64]) -> pa.ChunkedArray:
    there = np.where(np.isfinite(micros), micros, -1.0)
    return pa.chunked_array([pa.array(np.round(np.clip(there, -1, 2.0**62)).astype(np.int64))])


def _of_text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """The same from text, numbers and dates mixed at will."""
    is_number = pc.match_substring_regex(column, NUMBER)
    found = _of_numbers(pc.cast(pc.utf8_trim_whitespace(pc.if_else(is_number, column, None)), pa.float64()))
    if pc.all(is_number).as_py():
        return found
    dates = pc.if_else(pc.match_substring_regex(column, _DATE), pc.utf8_trim_whitespace(column), None)
    return pc.if_else(is_number, found, _of_dates(dates))


def _of_dates(dates: pa.ChunkedArray) -> pa.ChunkedArray:
    """Microseconds of ISO-8601: by Arrow where all of it is UTC, else by pandas, which knows offsets."""
    try:
        naive = pc.replace_substring_regex(dates, r"(Z| ?UTC)$", "")
        return pc.cast(pc.cast(naive, pa.timestamp("us")), pa.int64())
    except pa.ArrowInvalid:
        dates = pc.replace_substring_regex(dates, r" ?UTC$", "Z")
        parsed = pd.to_datetime(dates.to_pandas(), format="ISO8601", utc=True, errors="coerce").dt.as_unit("us")
        return pc.cast(pa.chunked_array([pa.array(parsed, from_pandas=True)]), pa.int64())
