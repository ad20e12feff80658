"""Columns of a source become typed Arrow columns; a cell that will not do makes its row a bad one, or raises.

Whole columns at a time: a check makes a mask, and only a failed one looks at rows (`Source.refuse`). Where bad rows are
counted, what comes back in their places has no meaning. "Nothing" is an empty string in text and null in Parquet.
"""

from collections.abc import Callable, Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data.errors import DataError
from data.readers.source import Source

NUMBER = r"^\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*$"
"""A number in text, as a regular expression."""
_CONTROL = r"[\x00-\x1f\x7f]"
_BLANK = "^[\\s\\x00\u00a0\u1680\u2000-\u200f\u2028-\u202f\u205f-\u2064\u3000\ufeff]*$"
_INVISIBLE = "^[\\s\u00a0\u3000]|[\\s\u00a0\u3000]$|[\u200b-\u200f\u2060-\u2064\ufeff]"
PLACEHOLDER = r"^(?i:[<(]?null[>)]?|nil|nan|none|#?n/a|<na>|\\n|undefined|\(not set\)|-)$|^NA$"
"""Words that stand for a missing value."""


def ids(source: Source, name: str, missing: str = PLACEHOLDER) -> pa.ChunkedArray:
    """Required strings that are neither blank nor hold control characters; whole numbers are taken as their digits.

    Words that stand for a missing value (NULL, nan, None, NA, \\N ...) are no ids: each would gather the rows of
    thousands of users. Characters that cannot be seen do not make an id.

    Args:
        missing: regular expression of such words; "" takes them as ids (a country may be NA).
    """
    column = strings(source, name, numbers_too=True)
    refuse_cells(source, name, column, pc.is_null(column), "expected an id")
    refuse_cells(source, name, column, pc.match_substring_regex(column, _BLANK), "expected an id")
    refuse_cells(source, name, column, pc.match_substring_regex(column, _CONTROL), "expected an id on one line")
    if missing:
        stands_for_none = pc.match_substring_regex(column, missing)
        refuse_cells(source, name, column, stands_for_none, "expected an id, not a word for a missing one")
    return column


def with_invisible(column: pa.ChunkedArray) -> int:
    """How many ids have blanks at an end, or characters of no width in them: "u1" and "u1 " are two users."""
    return pc.sum(pc.match_substring_regex(column, _INVISIBLE)).as_py() or 0


def places(source: Source, name: str) -> pa.ChunkedArray:
    """As `ids`, where words for missing values are words like others: countries, merchants."""
    return ids(source, name, missing="")


def optional_ids(source: Source, name: str) -> pa.ChunkedArray:
    """The same where nothing is allowed, and becomes null; all null where the file lacks the column."""
    if not source.has(name):
        return pa.chunked_array([pa.nulls(len(source), pa.string())])
    column = strings(source, name, numbers_too=True)
    column = pc.if_else(pc.match_substring_regex(column, r"(?i)^(|null|nan|none|\\n)$"), None, column)
    refuse_cells(source, name, column, pc.match_substring_regex(column, _CONTROL), "expected an id on one line")
    return column


def texts(source: Source, name: str, default: str = "") -> pa.ChunkedArray:
    """Strings, `default` where there is nothing or where the file lacks the column."""
    if not source.has(name):
        return pa.chunked_array([pa.repeat(pa.scalar(default), len(source))])
    column = pc.fill_null(strings(source, name, numbers_too=True), default)
    return pc.if_else(pc.equal(column, ""), default, column) if default else column


def choices(source: Source, name: str, meaning: Mapping[str, str]) -> pa.ChunkedArray:
    """Required strings, each one of the keys of `meaning`, turned into what it means there."""
    column = strings(source, name, numbers_too=True)
    place = pc.index_in(column, pa.array(list(meaning), pa.string()))
    refuse_cells(source, name, column, pc.is_null(place), f"expected one of {', '.join(meaning)}")
    return pc.take(pa.array(list(meaning.values()), pa.string()), place)


def flags(source: Source, name: str, default: bool) -> pa.ChunkedArray:
    """Booleans: true/false, yes/no, 1/0 in any case; `default` for nothing or a missing column."""
    if not source.has(name):
        return pa.chunked_array([pa.repeat(pa.scalar(default), len(source))])
    column = source.column(name)
    if pa.types.is_boolean(column.type):
        return pc.fill_null(column, default)
    column = pc.utf8_lower(strings(source, name, numbers_too=True))
    known = pa.array(["true", "yes", "1", "false", "no", "0", ""])
    place = pc.index_in(pc.fill_null(column, ""), known)
    refuse_cells(source, name, column, pc.is_null(place), "expected true or false")
    return pc.take(pa.array([True, True, True, False, False, False, default]), place)


def numbers(source: Source, name: str, least: float | None = 0.0, required: bool = False) -> pa.ChunkedArray:
    """float64, finite and not below `least`; null for nothing, or all of it where the file lacks the column.

    `required`: nothing will not do either.
    """
    if not source.has(name):
        if required:
            source.column(name)
        return pa.chunked_array([pa.nulls(len(source), pa.float64())])
    column = source.column(name)
    expected = "expected a finite number" + ("" if least is None else f" of at least {least:g}")
    if is_number(column.type):
        found = pc.cast(column, pa.float64(), safe=False)
    else:
        column = strings(source, name)
        column = pc.if_else(pc.match_substring_regex(column, r"^\s*$"), None, column)
        is_one = pc.match_substring_regex(column, NUMBER)
        refuse_cells(source, name, column, pc.invert(is_one), expected)
        found = pc.cast(pc.utf8_trim_whitespace(pc.if_else(is_one, column, None)), pa.float64())
    fits = pc.and_(pc.is_finite(found), pc.less_equal(pc.abs(found), float(np.finfo(np.float32).max)))
    refuse_cells(source, name, column, pc.invert(fits), expected)
    if least is not None:
        refuse_cells(source, name, column, pc.less(found, least), expected)
    if required:
        refuse_cells(source, name, column, pc.is_null(column), "expected a number")
    return found


def strings(source: Source, name: str, numbers_too: bool = False) -> pa.ChunkedArray:
    """A column as strings, unchecked. Raises DataError if its type is none that is text (or whole numbers)."""
    column = source.column(name)
    if pa.types.is_dictionary(column.type):
        column = pc.cast(column, column.type.value_type)
    kind = column.type
    textual = pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    if not (textual or pa.types.is_null(kind) or (numbers_too and pa.types.is_integer(kind))):
        expected = "strings or whole numbers" if numbers_too else "numbers or strings"
        raise DataError(f"{source.label}: column {name!r}: expected {expected}, found type {kind}")
    return pc.cast(column, pa.string())


def is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def refuse_cells(
    source: Source,
    name: str,
    column: pa.ChunkedArray,
    bad: pa.ChunkedArray,
    expected: str,
    hint: Callable[[str], str] = lambda shown: "",
) -> None:
    """Refuse the rows where `bad` is true, and say of the first what its cell holds; `hint` says more of a cell."""
    if pc.any(bad).as_py():
        mask = pc.fill_null(bad, False).to_numpy()

        def found(row: int) -> str:
            cell = shown(column[row])
            return f"found {cell}{hint(cell)}"

        source.refuse(name, mask, expected, found)


def shown(cell: pa.Scalar) -> str:
    """What a cell holds, for an error's sentence."""
    try:
        value = cell.as_py()
    except (ValueError, OverflowError):  # a timestamp that Python's calendar lacks
        return f"a {cell.type} far beyond"
    if value is None or value == "":
        return "nothing"
    written = repr(value) if isinstance(value, str) else str(value)
    return written if len(written) < 80 else written[:77] + "..."
