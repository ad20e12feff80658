"""Files of public data sets as columns: ratings and pairs (csv, dat, gz, zip, Parquet) and lists of a user's items."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

import pyarrow as pa
import pyarrow.compute as pc

from data.errors import DataError
from data.readers.columns import ids, numbers
from data.readers.places import UNREADABLE, Place, first_bytes, members_of
from data.readers.sniffing import Sniffed, sniff
from data.readers.source import Source, read_source

RATINGS_FILES = ("ratings.csv", "ratings.dat", "ratings.csv.gz", "ratings.dat.gz")
"""What is looked for in a folder or a zip archive, in this order."""

NAMES = {
    "user": ("user", "userid", "user_id", "uid"),
    "item": ("item", "itemid", "item_id", "movieid", "movie_id", "iid", "sid"),
    "value": ("rating", "value", "count", "weight"),
}
"""How a header may call each column. Without one they are the first columns, in this order."""


def open_ratings(path: Path, wanted: Collection[str] = ("user", "item", "value")) -> tuple[Source, dict[str, str]]:
    """The ratings file that a path means, and how it calls each of its columns: {"user": "userId", ...}.

    Args:
        path: the file, or a folder or zip archive with a ratings file in it.
        wanted: names of NAMES.

    Raises:
        DataError: no such file or column, or text that is not UTF-8.
    """
    place = _meant_by(path)
    known = NAMES["user"] + NAMES["item"]
    sniffed = sniff(place, known=known, unique=False)
    if not sniffed.parquet and not any(name.lower() in known for name in sniffed.names):
        columns = {what: f"column {number}" for number, what in enumerate(NAMES, start=1) if what in wanted}
        sniffed = replace(sniffed, names=tuple(f"column {number}" for number in range(1, len(sniffed.names) + 1)))
        first, *others = sniffed.sample
        there = {what: one for what, one in columns.items() if one in sniffed.names}
        _refuse_missing(place.label, first, there, wanted)
        _refuse_unknown_header(place.label, first, others[0] if others else ())
    else:
        columns = _by_name(place.label, sniffed, wanted)
    return read_source(place, list(columns.values()), sniffed), columns


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
    place = Place(path)
    users: list[str] = []
    items: list[str] = []
    for number, line in enumerate(_content(place).removeprefix(b"\xef\xbb\xbf").split(b"\n"), start=1):
        user, *taken = _decoded(place, number, line).split() or [""]
        users += [user] * len(taken)
        items += taken
    if not items:
        raise DataError(
            f"{place.label} holds no interaction; expected lines of a user and the items they took, split by spaces"
        )
    return users, items


def _content(place: Place) -> bytes:
    try:
        with place.open() as opened:
            return opened.read()
    except UNREADABLE as error:
        raise DataError(f"{place.label} cannot be read to its end: {error}") from error


def _meant_by(path: Path) -> Place:
    """The file itself, or the ratings file in a folder or zip archive, or an archive's only file."""
    expected = f"expected one of {', '.join(RATINGS_FILES)}"
    if path.is_dir():
        inside = next((path / name for name in RATINGS_FILES if (path / name).is_file()), None)
        if inside is None:
            lists = ", or train.txt and test.txt with --dataset pairs"
            raise DataError(f"{path} is a folder without a ratings file; {expected}{lists}")
        return Place(inside)
    if first_bytes(path, 2) != b"PK" and path.suffix.lower() != ".zip":
        return Place(path)
    members = members_of(path)
    ratings = [member for member in members if PurePosixPath(member).name in RATINGS_FILES] or members
    if not ratings or (len(ratings) > 1 and ratings is members):
        raise DataError(f"{path} is an archive without a ratings file; {expected}, or a single file")
    return Place(path, ratings[0])


def _decoded(place: Place, number: int, line: bytes) -> str:
    try:
        text = line.decode()
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise DataError(f"{place.label}, line {number}: expected UTF-8 text, found {line[:40]!r}")
    return text


def _by_name(label: str, sniffed: Sniffed, wanted: Collection[str]) -> dict[str, str]:
    """The columns of a header that are wanted."""
    found, lower = sniffed.names, [name.lower() for name in sniffed.names]
    columns = {
        what: found[lower.index(one)]
        for what, names in NAMES.items()
        for one in names[::-1]
        if what in wanted and one in lower
    }
    _refuse_missing(label, found, columns, wanted)
    for name in columns.values():
        if f"{name} (2)" in found:
            raise DataError(f"{label}: line 1: column {name!r} occurs twice; expected every name once")
    return columns


def _refuse_missing(label: str, found: Sequence[str], columns: Mapping[str, str], wanted: Collection[str]) -> None:
    missing = [what for what in NAMES if what in wanted and what not in columns]
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
