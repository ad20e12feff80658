"""Where a file's bytes lie: in a file, plain or gzipped, or in a member of a zip archive."""

import gzip
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, cast

import pyarrow as pa

from data.errors import DataError

UNREADABLE = (OSError, EOFError, zlib.error, zipfile.BadZipFile, pa.ArrowException, RuntimeError)
"""What reading a damaged file raises; RuntimeError: an encrypted archive."""


@dataclass(frozen=True)
class Place:
    """A file, or a member of a zip archive. `label` names it in errors."""

    file: Path
    member: str | None = None

    @property
    def label(self) -> str:
        return str(self.file) if self.member is None else f"{self.member} in {self.file}"

    @property
    def name(self) -> str:
        """The file's own name, without folders and without .gz."""
        return PurePosixPath(self.member or self.file.name).name.removesuffix(".gz")

    @contextmanager
    def open(self) -> Iterator[IO[bytes]]:
        """Its bytes, decompressed."""
        with stream_of(self.file, self.member) as opened:
            yield opened


@contextmanager
def stream_of(file: Path, member: str | None = None) -> Iterator[IO[bytes]]:
    """The bytes of a file, or of a member of a zip archive, decompressed; gzip is known by its first bytes."""
    with file.open("rb") as raw:
        if member is None:
            with _unzipped(raw) as opened:
                yield opened
        else:
            with zipfile.ZipFile(raw) as archive, archive.open(member) as inside, _unzipped(inside) as opened:
                yield opened


@contextmanager
def _unzipped(raw: IO[bytes]) -> Iterator[IO[bytes]]:
    compressed = raw.read(2) == b"\x1f\x8b"
    raw.seek(0)
    if not compressed:
        yield raw
        return
    with gzip.GzipFile(fileobj=raw) as unzipped:
        yield cast(IO[bytes], unzipped)


def first_bytes(file: Path, count: int) -> bytes:
    """Of the file as it lies on disk. Raises DataError where there is no file or nothing in it."""
    if not file.is_file():
        raise DataError(f"{file}: expected a file, found {'a folder' if file.is_dir() else 'nothing there'}")
    with file.open("rb") as opened:
        start = opened.read(count)
    if not start:
        raise DataError(f"{file} is empty; expected a Parquet, CSV or JSON lines file")
    return start


def members_of(archive: Path) -> list[str]:
    """The files in a zip archive, without what operating systems add (`__MACOSX/`, names that begin with a dot).

    Raises:
        DataError: no whole archive.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            names = [one.filename for one in opened.infolist() if not one.is_dir()]
    except UNREADABLE:
        raise DataError(f"{archive} is a zip archive or a part of one; expected one that is whole") from None
    return [name for name in names if not _added_by_a_system(PurePosixPath(name))]


def places_in(path: Path) -> list[Place]:
    """The file itself; or every file in a folder (one level deep at most) or in a zip archive, by name.

    Raises:
        DataError: nothing there, no file in it, or no whole archive.
    """
    if path.is_dir():
        found = sorted(one for one in (*path.glob("*"), *path.glob("*/*")) if one.is_file())
        places = [Place(one) for one in found if not _added_by_a_system(PurePosixPath(one.relative_to(path)))]
    elif first_bytes(path, 4) == b"PK\x03\x04":
        places = [Place(path, member) for member in sorted(members_of(path))]
    else:
        places = [Place(path)]
    if not places:
        raise DataError(f"{path} holds no file; expected at least one")
    return places


def _added_by_a_system(name: PurePosixPath) -> bool:
    return "__MACOSX" in name.parts or any(part.startswith(".") for part in name.parts)
