"""Files of public data sets as columns: ratings and pairs (csv, dat, gz, zip, Parquet) and lists of a user's items.

MovieLens' importer and the benchmarks' protocols read by the same function.
"""

import csv
import gzip
import re
import zipfile
import zlib
from collections.abc import Collection, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path, PurePosixPath

import pyarrow as pa
import pyarrow.compute as pc

from data.errors import DataError
from data.readers.columns import ids, numbers
from data.readers.delimited import Layout, TextFile, read_delimited, refuse_repeated
from data.readers.source import Source, open_source, stream_of

RATINGS_FILES = ("ratings.csv", "ratings.dat", "ratings.csv.gz", "ratings.dat.gz")
"""What is looked for in a folder or a zip archive, in this order."""

NAMES = {
    "user": ("user", "userid", "user_id", "uid"),
    "item": ("item", "itemid", "item_id", "movieid", "movie_id", "iid", "sid"),
    "value": ("rating", "value", "count", "weight"),
    "time": ("timestamp", "ts", "time"),
}
"""How a header may call each column. Without one they are the first columns, in this order."""

_BEGINNING = 1 << 20
"""Bytes in which the first two lines are looked for."""

_UNREADABLE = (OSError, EOFError, zlib.error, zipfile.BadZipFile, RuntimeError)  # RuntimeError: an encrypted archive


@dataclass(frozen=True)
class _Place:
    """A file, or a member of a zip archive. `label` names it in errors."""

    file: Path
    member: str | None = None

    @property
    def label(self) -> str:
        return str(self.file) if self.member is None else f"{self.file}:{self.member}"

    def content(self) -> bytes:
        """Decompressed. Raises DataError if it cannot be read to its end."""
        try:
            with stream_of(self.file, self.member) as opened:
                content = opened.read()
            return gzip.decompress(content) if self.member and content[:2] == b"\x1f\x8b" else content
        except _UNREADABLE as error:
            raise DataError(f"{self.label} cannot be read to its end: {error}") from error


def open_ratings(
    path: Path, wanted: Collection[str] = ("user", "item", "value"), without_header: tuple[str, ...] | None = None
) -> tuple[Source, dict[str, str]]:
    """The ratings file that a path means, and how it calls each of its columns: {"user": "userId", ...}.

    Args:
        path: the file, or a folder or zip archive with a ratings file in it.
        wanted: names of NAMES; only "time" may be missing.
        without_header: the columns of a file that begins without naming them. An archive's only file is then
            not taken for ratings whatever its name.

    Raises:
        DataError: no such file or column, or text that is not UTF-8.
    """
    place = _meant_by(path, any_file=without_header is None)
    if _starts_with(place, b"PAR1"):
        source = open_source(place.file)
        return source, _by_name(source.label, source.names, wanted)
    return _text(place, wanted, without_header)


def read_ratings(path: Path, with_value: bool) -> tuple[pa.ChunkedArray, pa.ChunkedArray, pa.ChunkedArray | None, str]:
    """Users, items (strings [N]), values (float64 [N], or None if not asked for), and the file's name for messages.

    Raises:
        DataError: no such file or column, an empty id, a value that is not a number, or text that is not UTF-8.
    """
    source, columns = open_ratings(Path(path), ("user", "item", "value") if with_value else ("user", "item"))
    user, item = (pc.utf8_trim_whitespace(ids(source, columns[what])) for what in ("user", "item"))
    return user, item, values_of(source, columns["value"]) if with_value else None, source.label


def values_of(source: Source, column: str) -> pa.ChunkedArray:
    """float64 [N], all of them there. Raises DataError at the first that is no number."""
    value = numbers(source, column, least=None)
    missing = pc.index(pc.is_null(value), True).as_py()
    if missing >= 0:
        source.fail(column, missing, "expected a number, found nothing")
    return value


def read_lists(path: Path) -> tuple[list[str], list[str]]:
    """Users [N] and items [N] of a file whose lines are `user item item ...`, as LightGCN's train.txt and test.txt.

    A line with a user alone is a user without items.
    """
    place = _Place(path)
    users: list[str] = []
    items: list[str] = []
    for number, line in enumerate(place.content().removeprefix(b"\xef\xbb\xbf").split(b"\n"), start=1):
        user, *taken = _decoded(place, number, line).split() or [""]
        users += [user] * len(taken)
        items += taken
    if not items:
        raise DataError(
            f"{place.label} holds no interaction; expected lines of a user and the items they took, split by spaces"
        )
    return users, items


def _meant_by(path: Path, any_file: bool) -> _Place:
    """The file itself, or the ratings file in a folder or zip archive; or, if `any_file`, an archive's only file."""
    expected = f"expected one of {', '.join(RATINGS_FILES)}"
    if path.is_dir():
        inside = next((path / name for name in RATINGS_FILES if (path / name).is_file()), None)
        if inside is None:
            lists = ", or train.txt and test.txt with --dataset pairs"
            raise DataError(f"{path} is a folder without a ratings file; {expected}{lists}")
        return _Place(inside)
    if not (_starts_with(_Place(path), b"PK") or path.suffix.lower() == ".zip"):
        return _Place(path)
    try:
        with zipfile.ZipFile(path) as archive:
            members = [one for one in archive.namelist() if not (one.endswith("/") or one.startswith("__MACOSX/"))]
    except _UNREADABLE as error:
        raise DataError(f"{path} cannot be read as a zip archive, or is a part of one: {error}") from error
    ratings = [member for member in members if PurePosixPath(member).name in RATINGS_FILES]
    ratings = ratings or (members if any_file else [])
    if not ratings or (len(ratings) > 1 and ratings is members):
        raise DataError(f"{path} is an archive without a ratings file; {expected}, or a single file")
    return _Place(path, ratings[0])


def _starts_with(place: _Place, magic: bytes) -> bool:
    if place.member is not None:
        return False
    try:
        with place.file.open("rb") as opened:
            return opened.read(len(magic)) == magic
    except OSError as error:
        raise DataError(f"{place.label} cannot be read: {error}") from error


def _text(
    place: _Place, wanted: Collection[str], without_header: tuple[str, ...] | None
) -> tuple[Source, dict[str, str]]:
    """The file's columns as strings, and which of them is which."""
    content = place.content().removeprefix(b"\xef\xbb\xbf")
    first, second = _first_lines(place, content)
    separator = next((sign for sign in ("::", ",", "\t", ";") if sign in first), " ")
    cells = _cells(first, separator)
    if any(cell.lower() in NAMES["user"] + NAMES["item"] for cell in cells):
        columns = _by_name(place.label, cells, wanted)
        chosen = set(columns.values())
        names = tuple(cell if cell in chosen else f"column {number}" for number, cell in enumerate(cells, start=1))
        refuse_repeated(f"{place.label}: line 1", names)
        content = content.replace(first.encode(), b"", 1)  # an empty line is no row, and lines keep their numbers
    else:
        names = without_header or tuple(f"column {number}" for number in range(1, len(cells) + 1))
        columns = {what: name for what, name in zip(NAMES, names, strict=False) if what in wanted}
        _refuse_missing(place.label, cells, columns, wanted)
        _refuse_unknown_header(place.label, cells, _cells(second, separator))
    if separator == " ":
        content = _single_blanks(content)
    text = TextFile(place.label, lambda: nullcontext(BytesIO(content)), Layout(separator, names, separator != "::"))
    table, _ = read_delimited(text, list(columns.values()))
    return Source(place.label, table, names, text.line_of), columns


def _first_lines(place: _Place, content: bytes) -> tuple[str, str]:
    """The first two lines that hold anything; the second may be empty."""
    lines = [line for line in re.split(rb"[\r\n]+", content[:_BEGINNING]) if line.strip()]
    if not lines:
        raise DataError(f"{place.label} is empty; expected rows of a user and an item")
    first, second = [*lines, b""][:2]
    return _decoded(place, 1, first), second.decode("utf-8", "replace")


def _decoded(place: _Place, number: int, line: bytes) -> str:
    try:
        text = line.decode()
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise DataError(f"{place.label}, line {number}: expected UTF-8 text, found {line[:40]!r}")
    return text


def _cells(line: str, separator: str) -> list[str]:
    if separator == "::":
        return [cell.strip() for cell in line.split(separator)]
    if separator == " ":
        line = " ".join(line.split())
    return [cell.strip() for cell in next(csv.reader([line], delimiter=separator), [])]


def _single_blanks(content: bytes) -> bytes:
    """Without blanks at the ends of lines, and with one where there are several: columns may be lined up."""
    return re.sub(rb"^ +| +(?=\r?$)", b"", re.sub(rb" {2,}", b" ", content), flags=re.MULTILINE)


def _by_name(label: str, found: Sequence[str], wanted: Collection[str]) -> dict[str, str]:
    """The columns of a header that are wanted."""
    lower = [name.lower() for name in found]
    columns = {
        what: found[lower.index(one)]
        for what, names in NAMES.items()
        for one in names[::-1]
        if what in wanted and one in lower
    }
    _refuse_missing(label, found, columns, wanted)
    return columns


def _refuse_missing(label: str, found: Sequence[str], columns: Mapping[str, str], wanted: Collection[str]) -> None:
    missing = [what for what in NAMES if what in wanted and what not in columns and what != "time"]
    if missing:
        expected = " and ".join(f"the {what} (such as {', '.join(NAMES[what][:3])})" for what in missing)
        pairs = "; rows without a rating are --dataset pairs" if missing == ["value"] else ""
        raise DataError(f"{label} has the columns {', '.join(found)}; expected also one for {expected}{pairs}")


def _refuse_unknown_header(label: str, first: Sequence[str], second: Sequence[str]) -> None:
    """A header of names that nobody knows is no user: told by the numbers that follow it."""
    if len(second) > 1 and all(cell.isdecimal() for cell in second[:2]) and not any(map(_has_digit, first[:2])):
        raise DataError(
            f"{label}, line 1: {', '.join(first)} reads like a header; expected one that names the user and the item "
            f"({', '.join(NAMES['user'])}; {', '.join(NAMES['item'])}), or none"
        )


def _has_digit(text: str) -> bool:
    return any(sign.isdecimal() for sign in text)
