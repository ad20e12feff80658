"""How a text file is laid out, told from its first rows: separator, header, columns."""

import csv
import json
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import islice

from data.errors import DataError
from data.readers.delimited import JSON_LINES, Delimited, Layout
from data.readers.lines import blocks_of
from data.readers.places import UNREADABLE, Place

_ROWS = 200
_SEPARATORS = ("\t", ",", ";", "|", "::")


@dataclass(frozen=True)
class Sniffed:
    """A file's layout and columns.

    Attributes:
        names: of the columns; 1, 2, 3 ... where neither file nor layout names them.
        header_bytes, header_lines: what to leave out at the beginning, the header and blank lines before it.
        sample: the first rows' values, header left out. parquet: the file is Parquet, with types of its own.
    """

    layout: Layout
    names: tuple[str, ...]
    header_bytes: int = 0
    header_lines: int = 0
    sample: tuple[tuple[str, ...], ...] = ()
    parquet: bool = False


@dataclass(frozen=True)
class Reading:
    """What the command line says of a file's layout; None: to be told from the file.

    Attributes:
        header: whether the first row names the columns.
    """

    separator: str | None = None
    header: bool | None = None
    quotes: bool | None = None
    time_format: str | None = None


def sniff(
    place: Place,
    layout: Layout | None = None,
    reading: Reading = Reading(),
    known: Collection[str] = (),
    unique: bool = True,
) -> Sniffed:
    """Look at a file's beginning.

    Args:
        layout: of a format that is known; `reading` comes before it.
        known: names of columns by which a header is recognised; without any, only a `layout` with names has no header.
        unique: whether a name may not occur twice; else the second is called "name (2)".

    Raises:
        DataError: an empty file, one that cannot be read, or no header where there should be one.
    """
    try:
        with place.open() as stream:
            if stream.read(4) == b"PAR1":
                return _of_parquet(place)
    except UNREADABLE as error:
        raise DataError(f"{place.label} cannot be read to its end: {' '.join(str(error).split())}") from error
    if place.name.lower().endswith((".parquet", ".pq")):
        raise DataError(f"{place.label} is not a Parquet file: expected the bytes PAR1 at its start")
    beginning = _beginning(place, layout.encoding if layout else "utf-8")
    lines = [line for line in beginning.split(b"\n") if line.strip(b" ")][:_ROWS]
    if not lines:
        raise DataError(f"{place.label} is empty; expected a header or rows")
    told = place.name.lower().endswith((".jsonl", ".ndjson")) or _is_json(lines[0])
    if reading.separator == JSON_LINES or (reading.separator is None and layout is None and told):
        return _of_json(place, lines)
    chosen = _layout(place, layout, reading, lines)
    return _with_names(place, chosen, reading, known, unique, beginning, lines)


def refuse_repeated(where: str, names: Sequence[str]) -> None:
    """Raises DataError if two columns have one name."""
    for number, name in enumerate(names):
        if name in names[:number]:
            raise DataError(f"{where}: column {name!r} occurs twice; expected every name once")


def _beginning(place: Place, encoding: str) -> bytes:
    try:
        with place.open() as stream:
            return next(islice(blocks_of(stream, place.label, encoding, 1 << 18), 1), b"")
    except UNREADABLE as error:
        raise DataError(f"{place.label} cannot be read to its end: {' '.join(str(error).split())}") from error


def _is_json(line: bytes) -> bool:
    try:
        return line.lstrip()[:1] == b"{" and isinstance(json.loads(line), dict)
    except ValueError:
        return False


def _of_json(place: Place, lines: Sequence[bytes]) -> Sniffed:
    names: dict[str, None] = {}
    for line in lines:
        try:
            found = json.loads(line)
        except ValueError:
            continue
        names |= dict.fromkeys(found if isinstance(found, dict) else ())
    if not names:
        raise DataError(f"{place.label}: expected JSON lines, an object on each, found {lines[0][:40]!r}")
    return Sniffed(Layout(JSON_LINES), tuple(names))


def _of_parquet(place: Place) -> Sniffed:
    import pyarrow.parquet as pq

    try:
        with place.open() as opened, pq.ParquetFile(opened if place.member else place.file) as parquet:
            return Sniffed(Layout(), tuple(parquet.schema_arrow.names), parquet=True)
    except UnicodeDecodeError as error:
        raise DataError(f"{place.label} cannot be read to its end: its columns' names are not UTF-8") from error
    except UNREADABLE as error:
        raise DataError(f"{place.label} cannot be read to its end: {' '.join(str(error).split())}") from error


def _layout(place: Place, layout: Layout | None, reading: Reading, lines: Sequence[bytes]) -> Layout:
    """Of the command line, else of the format, else the separator that most rows have as often as the first."""
    separator = reading.separator or (layout.separator if layout else _likeliest(place.name.lower(), lines))
    quotes = layout.quotes if layout and separator == layout.separator else separator != "\t" and len(separator) == 1
    return Layout(
        separator,
        layout.header if layout else None,
        quotes if reading.quotes is None else reading.quotes,
        layout.encoding if layout else "utf-8",
    )


def _likeliest(name: str, lines: Sequence[bytes]) -> str:
    by_name = {"tsv": "\t", "csv": ","}.get(name.rpartition(".")[2])
    bare = [re.sub(rb'"(?:[^"]|"")*"', b"", line) for line in lines]
    best, most = by_name or ",", (0.0, 0, False)
    for sign in _SEPARATORS:
        count = bare[0].count(sign.encode())
        agreeing = sum(line.count(sign.encode()) == count for line in bare) / len(bare)
        score = (round(agreeing, 1) if count else 0.0, count, sign == by_name)
        if count and sign == by_name and agreeing > 0.5:
            return sign
        if score > most:
            best, most = sign, score
    return " " if not most[1] and b" " in bare[0].strip() else best


def _with_names(
    place: Place,
    layout: Layout,
    reading: Reading,
    known: Collection[str],
    unique: bool,
    beginning: bytes,
    lines: Sequence[bytes],
) -> Sniffed:
    first = _values(layout, lines[0])
    headed = reading.header
    if headed is None:
        lower = {cell.lower() for cell in first}
        headed = bool(lower & {name.lower() for name in known}) if known else layout.header is None
    if headed:
        if "\ufffd" in "".join(first):
            raise DataError(f"{place.label}: line 1: expected a header in {layout.encoding}, found {lines[0][:60]!r}")
        names = first
        if unique:
            refuse_repeated(f"{place.label}: line 1", names)
        counts = [names[:at].count(name) + 1 for at, name in enumerate(names)]
        names = tuple(name if count == 1 else f"{name} ({count})" for name, count in zip(names, counts, strict=True))
        before = beginning[: beginning.index(lines[0])].count(b"\n")
        bytes_before = beginning.index(lines[0]) + len(lines[0]) + 1
        sample = tuple(_values(layout, line) for line in lines[1:])
        return Sniffed(layout, names, bytes_before, before + 1, sample)
    sample = tuple(_values(layout, line) for line in lines)
    names = layout.header or ()
    if len(names) != len(first):
        names = (*names, *(str(k) for k in range(len(names) + 1, len(first) + 1)))[: max(len(first), len(names))]
    return Sniffed(layout, names, sample=sample)


def _values(layout: Layout, line: bytes) -> tuple[str, ...]:
    try:
        found = Delimited(Layout(layout.separator, quotes=layout.quotes), ("",), ("",)).cells(line + b"\n")
    except csv.Error:
        found = line.split(layout.separator.encode())
    return tuple(cell.decode("utf-8", "replace").strip() for cell in found)
