"""Rows of text with separators: parsed by Arrow block by block, and every line accounted for.

A block in which nothing is odd is parsed at once. Where Arrow's rows are not as many as the lines, each line is judged
by itself (regular expressions over the whole block), so that one bad row costs one row: a quoted value that is never
closed, or that goes on after its closing quote, does not swallow the rows below it.
"""

import csv
import re
from codecs import BOM_UTF8
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
from numpy.typing import NDArray

from data.readers.lines import Lines

_STAND_IN = "\x1f"  # ASCII's unit separator, in place of a separator of several characters, which no parser takes
_LONGEST_VALUE = 10_000  # lines that one quoted value may run over


@dataclass(frozen=True)
class Layout:
    """How a text file is laid out.

    Attributes:
        separator: between values; "json" for JSON lines, one object a line.
        header: the columns' names where the file does not begin with them.
        quotes: whether values may be quoted, and then hold separators and line breaks.
        encoding: of text that is not UTF-8.
    """

    separator: str = ","
    header: tuple[str, ...] | None = None
    quotes: bool = True
    encoding: str = "utf-8"


CSV = Layout()
TSV = Layout("\t", quotes=False)
JSON_LINES = "json"


class BadRow(NamedTuple):
    """A row that is none: its number among the block's rows, its first line in the block, its text, what is wrong."""

    row: int
    line: int
    text: bytes
    problem: str


@dataclass(frozen=True)
class Parsed:
    """What became of a block's lines: rows of `table`, bad rows, blank lines, lines inside of quoted values.

    Attributes:
        table: string columns, of the rows that are right.
        rows: int64 [n], the number of each among the block's rows; lines: int64 [n], its first line in the block.
        rest: lines of a row that goes on in the next block.
    """

    table: pa.Table
    rows: NDArray[np.int64]
    lines: NDArray[np.int64]
    bad: list[BadRow] = field(default_factory=list)
    line_count: int = 0
    blank: int = 0
    continued: int = 0
    rest: bytes = b""

    @property
    def row_count(self) -> int:
        return len(self.rows) + len(self.bad)


class Grammar:
    """What a right row of `width` values looks like, as regular expressions."""

    def __init__(self, separator: str, width: int) -> None:
        self.separator, self.width = separator.encode(), width
        s = re.escape(separator)
        value = rf'(?:"(?:[^"]|"")*"|(?:[^"{s}\n][^{s}\n]*)?)'
        self.row = rf"^{value}(?:{s}{value}){{{width - 1}}}\n$"
        self.whole = re.compile(self.row.encode())
        self.any_width = re.compile(rf"^{value}(?:{s}{value})*\n$".encode())
        opened = r'"(?:[^"]|"")*\n$'
        self.opens = re.compile(rf"^(?:{value}{s})*{opened}".encode())
        self.inside = re.compile(rb'^(?:[^"]|"")*\n$')
        self.closes = re.compile(rf'^(?:[^"]|"")*"(?:{s}{value})*\n$'.encode())
        self.opens_again = re.compile(rf'^(?:[^"]|"")*"(?:{s}{value})*{s}{opened}'.encode())

    def closing(self, lines: Lines, line: int) -> int:
        """The line beyond the row that begins in this one; len(lines) + 1: it is still open at the end."""
        if not self.opens.match(lines[line]):
            return line + 1
        for at in range(line + 1, min(len(lines), line + _LONGEST_VALUE)):
            text = lines[at]
            if self.inside.match(text) or self.opens_again.match(text):
                continue
            return at + 1 if self.closes.match(text) else line + 1
        return len(lines) + 1 if line + _LONGEST_VALUE >= len(lines) else line + 1

    def reads_like_rows(self, lines: Lines, line: int, beyond: int) -> bool:
        """Whether every line of a quoted value has a row's separators: then two lone quotes stand around rows."""
        sign, expected = self.separator, self.width - 1
        return expected >= 2 and all(lines[at].count(sign) == expected for at in range(line, beyond))


class Delimited:
    """Parses blocks of one file whose columns have these names."""

    def __init__(self, layout: Layout, names: Sequence[str], wanted: Sequence[str]) -> None:
        self.layout, self.names, self.wanted = layout, names, wanted
        self.separator = layout.separator if len(layout.separator) == 1 else _STAND_IN
        self._grammar = Grammar(self.separator, len(names)) if layout.quotes else None

    def parse(self, block: bytes, last: bool) -> Parsed:
        """`block`: whole lines; `last`: no other follows, so that a quoted value cannot go on."""
        if self.separator != self.layout.separator:
            block = block.replace(self.layout.separator.encode(), self.separator.encode())
        block = self._single_blanks(block)
        quoted = self.layout.quotes and b'"' in block
        if not quoted:
            count = block.count(b"\n")
            try:
                table = self._arrow(block, pa.string())
                if len(table) == count:
                    numbers = np.arange(count)
                    return Parsed(table, numbers, numbers, line_count=count)
            except pa.ArrowInvalid:
                pass
        return self._with_care(Lines(block), quoted, last)

    def cells(self, row: bytes) -> list[bytes]:
        """The values of one row, as well as can be told."""
        if self.separator != self.layout.separator:
            row = row.replace(self.layout.separator.encode(), self.separator.encode())
        text = self._single_blanks(row).decode("latin-1").rstrip("\n")
        if not self.layout.quotes:
            return [cell.encode("latin-1") for cell in text.split(self.separator)]
        found = next(csv.reader([text], delimiter=self.separator), [])
        return [cell.encode("latin-1") for cell in found]

    def _single_blanks(self, text: bytes) -> bytes:
        """Where blanks separate: none at the ends of lines, one where there are several (columns may be lined up)."""
        return re.sub(rb"(?m)^ +| +$", b"", re.sub(rb" {2,}", b" ", text)) if self.separator == " " else text

    def _with_care(self, lines: Lines, quoted: bool, last: bool) -> Parsed:
        first = np.flatnonzero(~lines.blank)
        beyond = first + 1
        rest, end = b"", len(lines)
        if quoted:
            right, first, beyond, end = self._records(lines, last)
            rest = lines.between(end, len(lines))
        else:
            counts = pc.count_substring(lines.text, self.separator).to_numpy()
            right = counts[first] == len(self.names) - 1
        kept = np.flatnonzero(right)
        table, undecoded = self._table(lines, first[kept], beyond[kept])
        problems = {int(row): self._problem(lines.between(first[row], beyond[row])) for row in np.flatnonzero(~right)}
        problems |= {int(kept[row]): problem for row, problem in undecoded.items()}
        fine = np.setdiff1d(kept, kept[list(undecoded)]) if undecoded else kept
        if undecoded:
            table = table.filter(pa.array(np.isin(kept, fine)))
        bad = [
            BadRow(row, int(first[row]), lines.between(first[row], beyond[row]), problems[row])
            for row in sorted(problems)
        ]
        continued = int((beyond - first).sum()) - len(first)
        blank = end - len(first) - continued
        return Parsed(table, fine, first[fine], bad, end, blank, continued, rest)

    def _records(self, lines: Lines, last: bool) -> tuple[NDArray[np.bool_], NDArray[np.int64], NDArray[np.int64], int]:
        """(right, first line, line beyond) of each row, and the line beyond the last of them."""
        assert self._grammar is not None
        right = pc.match_substring_regex(lines.text, self._grammar.row).to_numpy(zero_copy_only=False)
        if len(self.names) == 1:
            right &= ~lines.blank
        odd = np.flatnonzero(~right & pc.match_substring(lines.text, '"').to_numpy(zero_copy_only=False))
        swallowed = np.zeros(len(lines), bool)
        ends: dict[int, int] = {}
        end, at = len(lines), -1
        for line in odd.tolist():
            if line < at:
                continue
            at = self._grammar.closing(lines, line)
            if at == len(lines) + 1 and not last and len(lines) - line < _LONGEST_VALUE:
                end = line
                break
            several = line + 1 < at <= len(lines) and self._grammar.whole.match(lines.between(line, at))
            if not several or self._grammar.reads_like_rows(lines, line, at):
                at = line + 1
                continue
            right[line], ends[line] = True, at
            swallowed[line + 1 : at] = True
        first = np.flatnonzero(~swallowed[:end] & ~lines.blank[:end])
        beyond = first + 1
        for line, after in ends.items():
            beyond[np.searchsorted(first, line)] = after
        return right[first], first, beyond, end

    def _problem(self, row: bytes) -> str:
        if self._grammar is not None and b'"' in row and not self._grammar.any_width.match(row):
            if self._grammar.opens.match(row):
                return "expected a closing quote before the row ends, found none (no quoting at all: --no-quotes)"
            return "expected a separator after a closing quote, found more text (no quoting at all: --no-quotes)"
        return f"expected {len(self.names)} values, found {len(self.cells(row))}"

    def _table(
        self, lines: Lines, first: NDArray[np.int64], beyond: NDArray[np.int64]
    ) -> tuple[pa.Table, dict[int, str]]:
        """The rows at these lines, and, by row, what is no text."""
        if not len(first):
            return pa.table({name: pa.array([], pa.string()) for name in self.wanted}), {}
        chosen = np.zeros(len(lines) + 1, np.int64)
        np.add.at(chosen, first, 1)
        np.add.at(chosen, beyond, -1)
        kept = np.repeat(np.cumsum(chosen[:-1]) > 0, np.diff(lines.offsets))
        data = np.frombuffer(lines.data, np.uint8)[kept].tobytes()
        table = self._arrow(data, pa.binary())
        if len(table) != len(first):
            raise AssertionError(f"{len(first)} rows were told apart, {len(table)} parsed")
        columns: dict[str, pa.ChunkedArray] = {}
        problems: dict[int, str] = {}
        for name in table.column_names:
            try:
                columns[name] = table[name].cast(pa.string())
            except pa.ArrowInvalid:
                cells = table[name].to_pylist()
                for row, cell in enumerate(cells):
                    if not decodes(cell):
                        problems.setdefault(row, f"column {name!r}: expected utf-8, found {cell[:40]!r}")
                columns[name] = pa.chunked_array([[cell.decode("utf-8", "replace") for cell in cells]], pa.string())
        return pa.table(columns) if columns else table, problems

    def _arrow(self, data: bytes, kind: pa.DataType) -> pa.Table:
        if data.startswith(BOM_UTF8):  # the reader leaves one out; this one is of the first value
            data = BOM_UTF8 + data
        return pa_csv.read_csv(
            pa.BufferReader(data),
            read_options=pa_csv.ReadOptions(column_names=list(self.names), block_size=len(data) + 1, use_threads=False),
            parse_options=pa_csv.ParseOptions(
                delimiter=self.separator,
                quote_char='"' if self.layout.quotes else False,
                newlines_in_values=self.layout.quotes,
            ),
            convert_options=pa_csv.ConvertOptions(
                include_columns=list(self.wanted),
                column_types=dict.fromkeys(self.wanted, kind),
                strings_can_be_null=False,
            ),
        )


def decodes(cell: bytes) -> bool:
    """Whether the bytes are UTF-8."""
    try:
        cell.decode()
    except UnicodeDecodeError:
        return False
    return True
