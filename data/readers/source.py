"""One input file as untyped columns: strings from text (plain, gzip, in a zip archive), native types from Parquet.

A source is a whole file or a block of one. It remembers where its rows stand, so that an error can name the file, the
row and, for text, the line. Rows count from 1 and leave the header out; a row's line is where the row begins.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NoReturn

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from data.errors import DataError
from data.readers.bad_rows import Bad, BadRows
from data.readers.delimited import JSON_LINES, Delimited, Layout, decodes
from data.readers.json_lines import JsonLines
from data.readers.lines import blocks_of
from data.readers.places import UNREADABLE, Place, first_bytes
from data.readers.sniffing import Sniffed, refuse_repeated, sniff

_PARQUET_ROWS = 1 << 18


@dataclass
class Source:
    """The columns of some rows of a file that were asked for and are there.

    Attributes:
        label: how errors name the file ("movies.dat in ml-1m.zip").
        table: strings (text) or the file's own types (Parquet).
        names: every column of the file, asked for or not.
        rows: int64 [n], each row's number in the file, from 0. lines: int64 [n], its line, from 1; None without lines.
        bad: where bad rows are counted; None: the first one raises.
        time_format: of its times, where the command line says so.
        text: row of the table -> the row as it stands in the file.
        lost, blank, continued: of text, rows that were bad as rows, blank lines, lines inside of quoted values.
    """

    label: str
    table: pa.Table
    names: tuple[str, ...]
    rows: NDArray[np.int64] | None = None
    lines: NDArray[np.int64] | None = None
    bad: BadRows | None = None
    time_format: str | None = None
    text: Callable[[int], bytes] = lambda row: b"\n"
    lost: int = 0
    blank: int = 0
    continued: int = 0
    _problems: list[tuple[NDArray[np.int64], str, str, Callable[[int], str]]] = field(default_factory=list, init=False)

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def has(self, name: str) -> bool:
        return name in self.table.column_names

    def column(self, name: str) -> pa.ChunkedArray:
        """Raises DataError if the file lacks it."""
        if not self.has(name):
            raise DataError(f"{self.label}: column {name!r} is missing; found {', '.join(map(repr, self.names))}")
        return self.table[name]

    def fail(self, name: str, row: int, problem: str) -> NoReturn:
        """Raise the DataError of one cell; `row` counts from 0 here and from 1 in the sentence."""
        raise DataError(f"{self.where(row)}, column {name!r}: {problem}")

    def where(self, row: int) -> str:
        number = row if self.rows is None else int(self.rows[row])
        line = "" if self.lines is None else f" (line {self.lines[row]})"
        return f"{self.label}: row {number + 1}{line}"

    def kept(self, mask: NDArray[np.bool_]) -> "Source":
        """The rows where `mask` [n] is true."""
        if mask.all():
            return self
        rows, text = np.flatnonzero(mask), self.text

        def at(row: int) -> bytes:
            return text(int(rows[row]))

        return replace(
            self,
            table=self.table.take(pa.array(rows)),
            rows=None if self.rows is None else self.rows[rows],
            lines=None if self.lines is None else self.lines[rows],
            text=at,
        )

    def refuse(self, name: str, bad: NDArray[np.bool_], reason: str, found: Callable[[int], str]) -> None:
        """Rows [n] whose cell in a column will not do: counted as bad, or, with nobody counting, the first raises.

        Args:
            reason: what was expected. found: row -> what the cell holds.
        """
        rows = np.flatnonzero(bad)
        if not len(rows):
            return
        if self.bad is None:
            self.fail(name, int(rows[0]), f"{reason}, {found(int(rows[0]))}")
        self._problems.append((rows, name, reason, found))

    def settle(self) -> NDArray[np.bool_]:
        """bool [n]: the rows that every check took. The others go to the count of bad rows, once each."""
        kept = np.ones(len(self), bool)
        if self.bad is None or not self._problems:
            return kept
        reasons, found = Counter[str](), dict[int, tuple[str, str]]()
        first = int(min(rows[0] for rows, *_ in self._problems))
        wanted = self.bad.allowed - self.bad.count
        for rows, name, reason, what in self._problems:
            new = rows[kept[rows]]
            kept[rows] = False
            reasons[f"column {name!r}: {reason}"] += len(new)
            for row in new.tolist() if len(new) <= wanted else new[:1].tolist():
                found[row] = (name, f"{self.where(row)}, column {name!r}: {reason}, {what(row)}")
            if first in rows and first not in found:
                found[first] = (name, f"{self.where(first)}, column {name!r}: {reason}, {what(first)}")
        few = reasons.total() <= wanted
        kept_beside = [Bad(found[row][1], self.text(row)) for row in sorted(found)] if few else []
        self.bad.add(found[first][1], reasons, kept_beside)
        self._problems.clear()
        return kept


def stream_source(
    place: Place, columns: Sequence[str] | None, sniffed: Sniffed, bad: BadRows | None = None
) -> Iterator[Source]:
    """A file block by block, the named columns (None: all) of it; at least one source, perhaps without rows.

    Raises:
        DataError: a file cut short or broken; without `bad`, the first row of the wrong length or that is not UTF-8.
    """
    try:
        if sniffed.parquet:
            yield from _parquet(place, columns, bad)
        else:
            yield from _text(place, columns, sniffed, bad)
    except UNREADABLE as error:
        raise DataError(f"{place.label} cannot be read to its end: {' '.join(str(error).split())}") from error


def open_source(
    file: Path, columns: Sequence[str] | None = None, layout: Layout | None = None, member: str | None = None
) -> Source:
    """Read the named columns (None: all) of a whole Parquet or text file; those the file lacks are left out.

    Parquet and gzip are known by their first bytes, separators as `sniff` says.

    Args:
        member: the file's name inside the zip archive `file`.

    Raises:
        DataError: no file, an empty one, one cut short, broken, not UTF-8, or with a row of the wrong length.
    """
    place = Place(file, member)
    if member is None and first_bytes(file, 4) == b"PK\x03\x04":
        raise DataError(f"{file} is a zip archive or a part of one; expected the file that is in it")
    return read_source(place, columns, sniff(place, layout))


def read_source(place: Place, columns: Sequence[str] | None, sniffed: Sniffed) -> Source:
    """A whole file, laid out as was sniffed. Raises DataError as `open_source` does."""
    blocks = list(stream_source(place, columns, sniffed))
    one = blocks[0]
    rows = np.concatenate([block.rows for block in blocks if block.rows is not None])
    lines = None if one.lines is None else np.concatenate([block.lines for block in blocks if block.lines is not None])
    return Source(one.label, pa.concat_tables([block.table for block in blocks]), one.names, rows, lines)


def _text(place: Place, columns: Sequence[str] | None, sniffed: Sniffed, bad: BadRows | None) -> Iterator[Source]:
    layout, names = sniffed.layout, sniffed.names
    wanted = [name for name in names if columns is None or name in columns]
    parser = JsonLines(wanted) if layout.separator == JSON_LINES else Delimited(layout, names, wanted or names[:1])
    row, line, seen, rest, any_yet = 0, 1, 0, b"", False
    with place.open() as stream:
        for block in _with_end(blocks_of(stream, place.label, layout.encoding)):
            text = rest + (block or b"")
            seen += 0 if block is None else block.count(b"\n")
            if row == 0 and line == 1:
                text, line = text[sniffed.header_bytes :], line + sniffed.header_lines
            if not text:
                continue
            parsed = parser.parse(text, last=block is None)
            rest = parsed.rest
            lines = parsed.lines + line
            source = Source(place.label, parsed.table.select(wanted), names, parsed.rows + row, lines, bad)
            source.text = _text_at(text[: len(text) - len(rest)], parsed.lines, parsed.line_count)
            source.lost, source.blank, source.continued = len(parsed.bad), parsed.blank, parsed.continued
            if parsed.bad:
                _count_bad(source, parsed.bad, row, line)
            if parsed.row_count + parsed.blank + parsed.continued != parsed.line_count:
                raise DataError(f"{place.label}: {parsed.line_count} lines became {parsed.row_count} rows: a fault")
            row, line = row + parsed.row_count, line + parsed.line_count
            yield source
            any_yet = True
    if seen != line - 1:
        raise DataError(f"{place.label}: {seen} lines were read, {line - 1} accounted for: a fault of the reader")
    if not any_yet:
        empty = pa.table({name: pa.array([], pa.string()) for name in wanted})
        yield Source(place.label, empty, names, np.empty(0, np.int64), np.empty(0, np.int64), bad)


def _with_end(blocks: Iterator[bytes]) -> Iterator[bytes | None]:
    yield from blocks
    yield None


def _text_at(text: bytes, lines: NDArray[np.int64], count: int) -> Callable[[int], bytes]:
    """Row -> its text, from the line where it begins to where the next one does; the lines are found if asked for."""

    def find(row: int) -> bytes:
        found = text.split(b"\n")
        beyond = int(lines[row + 1]) if row + 1 < len(lines) else count
        return b"\n".join(found[int(lines[row]) : beyond]).rstrip(b"\n") + b"\n"

    return find


def _count_bad(source: Source, rows: Sequence[tuple[int, int, bytes, str]], row: int, line: int) -> None:
    """Rows that are none; without somebody who counts, the first raises."""
    found = [
        Bad(f"{source.label}: row {row + number + 1} (line {line + at}){_joined(problem)}", text)
        for number, at, text, problem in rows
    ]
    if source.bad is None:
        raise DataError(found[0].sentence)
    reasons = Counter(problem.split(", found")[0] for *_, problem in rows)
    few = source.bad.count + len(found) <= source.bad.allowed
    source.bad.add(found[0].sentence, reasons, found if few else [])


def _joined(problem: str) -> str:
    return f", {problem}" if problem.startswith("column") else f": {problem}"


def _parquet(place: Place, columns: Sequence[str] | None, bad: BadRows | None) -> Iterator[Source]:
    label, first = place.label, 0
    try:
        with place.open() as opened, pq.ParquetFile(opened if place.member else place.file) as parquet:
            names = tuple(parquet.schema_arrow.names)
            refuse_repeated(label, names)
            wanted = [name for name in names if columns is None or name in columns]
            empty = parquet.schema_arrow.empty_table().select(wanted)
            batches = parquet.iter_batches(_PARQUET_ROWS, columns=wanted) if wanted else iter(())
            for table in (pa.Table.from_batches([batch]) for batch in batches):
                source = Source(label, table, names, np.arange(first, first + len(table)), None, bad)
                source.text = _shown_row(table)
                first += len(table)
                for name in table.column_names:
                    _validate(source, name)
                yield source
            if not first:
                yield Source(label, empty, names, np.empty(0, np.int64), None, bad)
    except UnicodeDecodeError as error:
        raise DataError(f"{label} cannot be read to its end: its columns' names are not UTF-8") from error


def _shown_row(table: pa.Table) -> Callable[[int], bytes]:
    return lambda row: f"{table.slice(row, 1).to_pylist()[0]}\n".encode()


def _validate(source: Source, name: str) -> None:
    """Parquet readers take what a file says is text: check that it is UTF-8, as others of our columns are."""
    try:
        source.column(name).validate(full=True)
    except pa.ArrowInvalid:
        if pa.types.is_string(source.column(name).type):
            for row, cell in enumerate(source.column(name).cast(pa.binary()).to_pylist()):
                if cell is not None and not decodes(cell):
                    source.fail(name, row, f"expected utf-8, found {cell[:40]!r}")
        raise
