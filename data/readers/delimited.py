"""Text files with separators: parsed by Arrow in one pass; read again slowly, by Python, only to say what is wrong."""

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import islice
from typing import IO, NoReturn

import pyarrow as pa
import pyarrow.csv as pa_csv

from data.errors import DataError

_STAND_IN = "\x1f"  # ASCII's unit separator, in place of a separator of several characters, which no parser takes


@dataclass(frozen=True)
class Layout:
    """How a text file is laid out.

    Attributes:
        header: the columns' names where the file does not begin with them.
        quotes: whether values may be quoted, and then hold separators and line breaks.
    """

    separator: str = ","
    header: tuple[str, ...] | None = None
    quotes: bool = True
    encoding: str = "utf-8"


CSV = Layout()
TSV = Layout("\t")


@dataclass(frozen=True)
class TextFile:
    """A text file that can be opened again and again."""

    label: str
    stream: Callable[[], AbstractContextManager[IO[bytes]]]
    layout: Layout

    def rows(self) -> Iterator[tuple[int, list[bytes]]]:
        """Slowly: the line on which each row begins, and its cells; the header comes first where there is one."""
        layout = self.layout
        with self.stream() as opened:
            text = io.TextIOWrapper(opened, encoding="latin-1", newline="")  # any byte is a character: none is lost
            lines = (line.replace(layout.separator, _STAND_IN) for line in text) if len(layout.separator) > 1 else text
            separator = layout.separator if len(layout.separator) == 1 else _STAND_IN
            reader = csv.reader(
                lines, delimiter=separator, quoting=csv.QUOTE_MINIMAL if layout.quotes else csv.QUOTE_NONE
            )
            line = 1
            for cells in reader:
                if cells:  # an empty line is no row
                    yield line, [cell.encode("latin-1") for cell in cells]
                line = reader.line_num + 1

    def has_rows(self) -> bool:
        try:
            return next(islice(self.rows(), 0 if self.layout.header else 1, None), None) is not None
        except csv.Error:
            return True

    def line_of(self, row: int) -> int | None:
        """The line on which data row `row` (from 0) begins; None if it cannot be told."""
        header = 0 if self.layout.header else 1
        try:
            return next(islice(self.rows(), row + header, None))[0]
        except (StopIteration, csv.Error, OSError, EOFError):
            return None


def read_delimited(text: TextFile, columns: Sequence[str] | None) -> tuple[pa.Table, tuple[str, ...]]:
    """The named columns (None: all) that the file has, as strings, and the names of all its columns.

    Raises:
        DataError: no header, a name twice in it, a row of another length, a value that is not text in the encoding.
    """
    names = text.layout.header or _header(text)
    wanted = [name for name in names if columns is None or name in columns]
    if not wanted:
        return pa.table({}), names
    try:
        return _parse(text, wanted), names
    except pa.ArrowInvalid as error:
        if text.has_rows():
            _explain(text, names, wanted, error)
        return pa.table({name: pa.array([], pa.string()) for name in wanted}), names


def _parse(text: TextFile, wanted: Sequence[str]) -> pa.Table:
    layout = text.layout
    separator = layout.separator if len(layout.separator) == 1 else _STAND_IN
    with text.stream() as opened:
        if len(layout.separator) > 1:
            opened = io.BytesIO(opened.read().replace(layout.separator.encode(), _STAND_IN.encode()))
        return pa_csv.read_csv(
            opened,
            read_options=pa_csv.ReadOptions(column_names=layout.header, block_size=1 << 24, encoding=layout.encoding),
            parse_options=pa_csv.ParseOptions(
                delimiter=separator, quote_char='"' if layout.quotes else False, newlines_in_values=layout.quotes
            ),
            convert_options=pa_csv.ConvertOptions(
                include_columns=wanted, column_types=dict.fromkeys(wanted, pa.string()), strings_can_be_null=False
            ),
        )


def _header(text: TextFile) -> tuple[str, ...]:
    try:
        _, cells = next(text.rows())
        names = tuple(cell.decode(text.layout.encoding) for cell in cells)
    except StopIteration:
        raise DataError(f"{text.label} is empty; expected a header") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{text.label}: line 1: expected a header in {text.layout.encoding}, found {error}") from None
    names = (names[0].removeprefix("\ufeff"), *names[1:])
    refuse_repeated(f"{text.label}: line 1", names)
    return names


def refuse_repeated(where: str, names: Sequence[str]) -> None:
    """Raises DataError if two columns have one name."""
    for place, name in enumerate(names):
        if name in names[:place]:
            raise DataError(f"{where}: column {name!r} occurs twice; expected every name once")


def _explain(text: TextFile, names: Sequence[str], wanted: Sequence[str], error: pa.ArrowInvalid) -> NoReturn:
    """Find the row that Arrow stumbled over and raise a DataError that names it."""
    first = 0 if text.layout.header else 1
    try:
        for row, (line, cells) in enumerate(islice(text.rows(), first, None), start=1):
            where = f"{text.label}: row {row} (line {line})"
            if len(cells) != len(names):
                raise DataError(f"{where}: expected {len(names)} values, found {len(cells)}")
            for name, cell in zip(names, cells, strict=True):
                if name in wanted and not decodes(cell, text.layout.encoding):
                    raise DataError(f"{where}, column {name!r}: expected {text.layout.encoding}, found {cell[:40]!r}")
    except csv.Error as found:
        raise DataError(f"{text.label}: {found}") from error
    raise DataError(f"{text.label}: {' '.join(str(error).split())}") from error


def decodes(cell: bytes, encoding: str) -> bool:
    """Whether the bytes are text in the encoding."""
    try:
        cell.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True
