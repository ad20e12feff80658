"""Ratings and pairs files become distinct (user, item) pairs: MovieLens csv and dat, gz and zip, pairs, item lists."""

import gzip
import io
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as csv
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from candidates.errors import CandidatesError

RATINGS_FILES = ("ratings.csv", "ratings.dat", "ratings.csv.gz", "ratings.dat.gz")
"""What is looked for in a folder or a zip archive, in this order."""

_USER_NAMES = ("user", "userid", "user_id", "uid")
_ITEM_NAMES = ("item", "itemid", "item_id", "movieid", "movie_id", "iid", "sid")
_VALUE_NAMES = ("rating", "value", "count", "weight")


@dataclass(frozen=True)
class Interactions:
    """N distinct (user, item) pairs in the order of the file.

    Attributes:
        user_ids: int64 or str [U], ascending (numbers as numbers). item_ids: the same [I].
        user: int32 [N], positions in user_ids. item: int32 [N], positions in item_ids.
    """

    user_ids: NDArray
    item_ids: NDArray
    user: NDArray[np.int32]
    item: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.user)

    def matrix(self) -> csr_matrix:
        """float32 [U, I], 1 for each pair."""
        return binary_matrix(self.user, self.item, (len(self.user_ids), len(self.item_ids)))

    @classmethod
    def of(cls, user_ids: NDArray, item_ids: NDArray) -> "Interactions":
        """From parallel arrays of ids [N]; of a pair that occurs twice the first stays."""
        users, user = np.unique(user_ids, return_inverse=True)
        items, item = np.unique(item_ids, return_inverse=True)
        return cls(users, items, *_distinct(user.astype(np.int32), item.astype(np.int32), len(items)))


def binary_matrix(rows: NDArray[np.integer], columns: NDArray[np.integer], shape: tuple[int, int]) -> csr_matrix:
    """float32 with 1 at the given distinct places, columns ascending within each row."""
    matrix = csr_matrix((np.ones(len(rows), np.float32), (rows, columns)), shape=shape)
    matrix.sort_indices()
    return matrix


def read_interactions(path: Path, above: float | None = None) -> Interactions:
    """Read a file of `user, item[, value[, ...]]` rows, or the ratings file in a folder or zip archive.

    The delimiter is "::", a comma, a tab, a semicolon or a space, as the first line shows. A header is recognised by
    its column names (userId, movieId, rating ...); without one the first two columns are user and item, the third the
    value.

    Args:
        above: keep only rows whose value is greater than this (MovieLens: 3.5). None keeps every row.

    Raises:
        CandidatesError: no such file, no such column, a value that is not a number, an empty id, or no row left.
    """
    name, text = _content(Path(path))
    table = _parse(name, text, with_value=above is not None)
    if above is not None:
        table = table.filter(pc.greater(table["value"], above))
    if len(table) == 0:
        raise CandidatesError(
            f"{name} holds no interaction" + (f" with a value above {above:g}" if above is not None else "")
        )
    user_ids, user = _encoded(table["user"])
    item_ids, item = _encoded(table["item"])
    return Interactions(user_ids, item_ids, *_distinct(user, item, len(item_ids)))


def read_item_lists(path: Path) -> tuple[NDArray, NDArray]:
    """Ids (users [N], items [N]) of a file whose lines are `user item item ...`, as LightGCN's train.txt and test.txt.

    A line with a user alone is a user without items. Ids are numbers if every one of them is.
    """
    name, text = _content(Path(path))
    users: list[str] = []
    items: list[str] = []
    for line in text.decode("utf-8", "replace").splitlines():
        user, *taken = line.split() or [""]
        users += [user] * len(taken)
        items += taken
    if not items:
        raise CandidatesError(f"{name} holds no interaction; expected lines of a user and the items they took")
    return _as_numbers(np.array(users)), _as_numbers(np.array(items))


def _content(path: Path) -> tuple[str, bytes]:
    """The name (for messages) and the decompressed bytes of the file meant by `path`."""
    if path.is_dir():
        inside = next((path / name for name in RATINGS_FILES if (path / name).is_file()), None)
        if inside is None:
            raise CandidatesError(
                f"{path} is a folder without a ratings file; expected one of {', '.join(RATINGS_FILES)}"
            )
        path = inside
    try:
        if path.suffix == ".zip":
            return _zipped(path)
        if path.suffix == ".gz":
            with gzip.open(path) as opened:
                return str(path), opened.read()
        return str(path), path.read_bytes()
    except (OSError, EOFError, zipfile.BadZipFile) as error:
        raise CandidatesError(f"{path} cannot be read: {error}") from error


def _zipped(path: Path) -> tuple[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        members = [member for member in archive.namelist() if Path(member).name in RATINGS_FILES]
        if not members:
            raise CandidatesError(
                f"{path} is an archive without a ratings file; expected one of {', '.join(RATINGS_FILES)}"
            )
        content = archive.read(members[0])
    return f"{path}:{members[0]}", gzip.decompress(content) if members[0].endswith(".gz") else content


def _parse(name: str, text: bytes, with_value: bool) -> pa.Table:
    """Columns user, item (dictionaries of strings) and, if asked for, value (float64)."""
    first = text[:4096].lstrip(b"\xef\xbb\xbf\r\n").split(b"\n", 1)[0].decode("utf-8", "replace").strip()
    delimiter = next((sign for sign in ("::", ",", "\t", ";") if sign in first), " ")
    fields = [field.strip().strip('"') for field in first.split(delimiter)]
    columns, header = _columns(name, fields, with_value)
    if delimiter == "::":
        text, delimiter = text.replace(b"::", b"\t"), "\t"
    text_type = pa.dictionary(pa.int32(), pa.string())
    wanted = {str(place): pa.string() if what == "value" else text_type for what, place in columns.items()}
    try:
        table = csv.read_csv(
            io.BytesIO(text),
            read_options=csv.ReadOptions(column_names=[str(k) for k in range(len(fields))], skip_rows=int(header)),
            parse_options=csv.ParseOptions(delimiter=delimiter),
            convert_options=csv.ConvertOptions(
                column_types=wanted, include_columns=list(wanted), strings_can_be_null=True, null_values=[""]
            ),
        )
    except pa.ArrowInvalid as error:
        raise CandidatesError(
            f"{name} is not a table of {len(fields)} columns split by {delimiter!r}: {error}"
        ) from error
    table = table.rename_columns(list(columns))
    first_row = 1 + int(header)
    for what in ("user", "item"):
        if table[what].null_count:
            row = pc.index(pc.is_null(table[what]), True).as_py() + first_row
            raise CandidatesError(f"{name}, line {row}: the {what} is empty; expected an id")
    if with_value:
        table = table.set_column(
            table.schema.get_field_index("value"), "value", _numbers(name, table["value"], first_row)
        )
    return table


def _columns(name: str, fields: list[str], with_value: bool) -> tuple[dict[str, int], bool]:
    """Which column is which, and whether the first line is a header."""
    lower = [field.lower() for field in fields]
    wanted = {"user": _USER_NAMES, "item": _ITEM_NAMES} | ({"value": _VALUE_NAMES} if with_value else {})
    header = any(field in _USER_NAMES + _ITEM_NAMES for field in lower)
    if header:
        places = {what: next((lower.index(one) for one in names if one in lower), -1) for what, names in wanted.items()}
    else:
        places = {what: place if place < len(fields) else -1 for place, what in enumerate(wanted)}
    missing = [what for what, place in places.items() if place < 0]
    if missing:
        raise CandidatesError(
            f"{name} has the columns {', '.join(fields)}; expected also one for the {' and the '.join(missing)}"
        )
    return places, header


def _numbers(name: str, values: pa.ChunkedArray, first_row: int) -> pa.ChunkedArray:
    """Strings as float64. Raises CandidatesError naming the first line that is not a number."""
    try:
        numbers = pc.cast(values, pa.float64())
        bad = pc.index(pc.is_finite(pc.fill_null(numbers, float("nan"))), False).as_py()
    except pa.ArrowInvalid:
        bad = next(k for k, value in enumerate(values.to_pylist()) if not _is_number(value))
    if bad >= 0:
        raise CandidatesError(
            f"{name}, line {bad + first_row}: the value is {values[bad].as_py()!r}; expected a number"
        )
    return numbers


def _is_number(value: str | None) -> bool:
    try:
        pc.cast(pa.scalar(value), pa.float64())
    except pa.ArrowInvalid:
        return False
    return value is not None


def _encoded(column: pa.ChunkedArray) -> tuple[NDArray, NDArray[np.int32]]:
    """Ascending distinct ids that occur, and each row's position among them."""
    column = column.unify_dictionaries()
    codes = np.concatenate([chunk.indices.to_numpy() for chunk in column.chunks])
    used, codes = np.unique(codes, return_inverse=True)
    ids = _as_numbers(np.array(column.chunk(0).dictionary.to_pylist())[used])
    order = np.argsort(ids, kind="stable")
    position = np.empty(len(order), np.int32)
    position[order] = np.arange(len(order), dtype=np.int32)
    return ids[order], position[codes]


def _as_numbers(ids: NDArray) -> NDArray:
    """int64 if every id is a whole number written the plain way ("7", not "07"), so that 10 sorts after 9."""
    try:
        numbers = ids.astype(np.int64)
    except (ValueError, OverflowError):
        return ids
    return numbers if np.array_equal(numbers.astype(ids.dtype), ids) else ids


def _distinct(
    user: NDArray[np.int32], item: NDArray[np.int32], items: int
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """The first of each pair, in the order given."""
    first = np.unique(user.astype(np.int64) * items + item, return_index=True)[1]
    if len(first) == len(user):
        return user, item
    first.sort()
    return user[first], item[first]
