"""One input file as untyped columns: strings from CSV (plain, gzip, in a zip archive), native types from Parquet.

A source remembers how to find a row again, so an error can name the file, the row and, for CSV, the line. Rows count
from 1 and leave the header out; a row's line is where the row begins, and is looked for only when something is wrong.
"""

import gzip
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NoReturn, cast

import pyarrow as pa
import pyarrow.parquet as pq

from data.errors import DataError
from data.readers.delimited import CSV, TSV, Layout, TextFile, decodes, read_delimited, refuse_repeated

_READ_ERRORS = (OSError, EOFError, zlib.error, zipfile.BadZipFile, pa.ArrowException)


@dataclass(frozen=True)
class Source:
    """The columns of one file that were asked for and are there.

    Attributes:
        label: how errors name the file ("movies.dat in ml-1m.zip").
        table: strings (CSV) or the file's own types (Parquet).
        names: every column of the file, asked for or not.
        line_of: the line on which data row r (from 0) begins; None if the file has no lines or it can't be told.
    """

    label: str
    table: pa.Table
    names: tuple[str, ...]
    line_of: Callable[[int], int | None]

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
        line = self.line_of(row)
        where = f"row {row + 1}" if line is None else f"row {row + 1} (line {line})"
        raise DataError(f"{self.label}: {where}, column {name!r}: {problem}")


def open_source(
    file: Path, columns: Sequence[str] | None = None, layout: Layout = CSV, member: str | None = None
) -> Source:
    """Read the named columns (None: all) of a Parquet or CSV file; those the file lacks are left out.

    Parquet and gzip are known by their first bytes, a tab-separated file by its name (.tsv, .tsv.gz).

    Args:
        member: the file's name inside the zip archive `file`.

    Raises:
        DataError: no file, an empty one, one cut short, broken, not UTF-8, or with a row of the wrong length.
    """
    label = str(file) if member is None else f"{member} in {file}"
    try:
        if not file.is_file():
            raise DataError(f"{file}: expected a file, found {'a folder' if file.is_dir() else 'nothing there'}")
        with file.open("rb") as opened:
            start = opened.read(4)
        if not start:
            raise DataError(f"{file} is empty; expected a Parquet or CSV file")
        if start == b"PK\x03\x04" and member is None:
            raise DataError(f"{file} is a zip archive or a part of one; expected the file that is in it")
        if start == b"PAR1":
            return _open_parquet(file, columns)
        if file.suffix.lower() in (".parquet", ".pq"):
            raise DataError(f"{file} is not a Parquet file: expected the bytes PAR1 at its start, found {start!r}")
        if layout == CSV and file.name.lower().removesuffix(".gz").endswith(".tsv"):
            layout = TSV
        text = TextFile(label, lambda: stream_of(file, member), layout)
        table, names = read_delimited(text, columns)
        return Source(label, table, names, text.line_of)
    except _READ_ERRORS as error:
        raise DataError(f"{label} cannot be read to its end: {' '.join(str(error).split())}") from error


@contextmanager
def stream_of(file: Path, member: str | None = None) -> Iterator[IO[bytes]]:
    """The bytes of a file, or of a member of a zip archive, decompressed."""
    with file.open("rb") as raw:
        compressed = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        if member is not None:
            with zipfile.ZipFile(raw) as archive, archive.open(member) as inside:
                yield inside
        elif compressed:
            with gzip.GzipFile(fileobj=raw) as unzipped:
                yield cast(IO[bytes], unzipped)
        else:
            yield raw


def _open_parquet(file: Path, columns: Sequence[str] | None) -> Source:
    try:
        with pq.ParquetFile(file) as parquet:
            names = tuple(parquet.schema_arrow.names)
            refuse_repeated(str(file), names)
            table = parquet.read(columns=[name for name in names if columns is None or name in columns])
    except UnicodeDecodeError as error:
        raise DataError(f"{file} cannot be read to its end: its columns' names are not UTF-8") from error
    source = Source(str(file), table, names, lambda row: None)
    for name in table.column_names:
        _validate(source, name)
    return source


def _validate(source: Source, name: str) -> None:
    """Parquet readers take what a file says is text: check that it is UTF-8, as others of our columns are."""
    try:
        source.column(name).validate(full=True)
    except pa.ArrowInvalid:
        if pa.types.is_string(source.column(name).type):
            for row, cell in enumerate(source.column(name).cast(pa.binary()).to_pylist()):
                if cell is not None and not decodes(cell, "utf-8"):
                    source.fail(name, row, f"expected utf-8, found {cell[:40]!r}")
        raise
