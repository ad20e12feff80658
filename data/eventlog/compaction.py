"""Turn closed write-ahead files into Parquet segments by the hour in which their records came in.

A segment is named by its file: written beside, forced to disk, renamed, and only then is the file deleted. Stopped
anywhere, the work can simply be done again: it replaces the same segment by the same rows.
"""

import fcntl
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from data.eventlog.errors import EventLogError
from data.eventlog.framing import Scan, scan
from data.eventlog.tables import tables_of, without_second_copies

logger = logging.getLogger(__name__)


@dataclass
class Compacted:
    """What a compaction did: files turned into segments, the rows in them, files still being written, damaged files."""

    files: int = 0
    displays: int = 0
    tracked: int = 0
    in_use: int = 0
    damaged: list[str] = field(default_factory=list)


def compact(folder: Path, salvage: bool = False) -> Compacted:
    """Turn every closed write-ahead file under `folder` into segments.

    Args:
        folder: the log's folder, with `wal/` in it.
        salvage: take what can be read out of a damaged file and put the file aside under `damaged/`;
            without it a damaged file stays where it is, and is named in the answer and in the log.
    Raises:
        EventLogError: a segment cannot be written.
    """
    done = Compacted()
    if not (folder / "wal").is_dir():
        return done
    try:
        _compact_all(folder, salvage, done)
    except OSError as error:
        raise EventLogError(f"{folder}: expected to compact the log there, found {error}") from error
    return done


def _compact_all(folder: Path, salvage: bool, done: Compacted) -> None:
    with _alone(folder):
        for part in ("displays", "tracked"):
            for left_over in (folder / part).glob("*/.*.tmp"):
                left_over.unlink(missing_ok=True)
        for path in sorted((folder / "wal").glob("*.wal")):
            with _closed(path) as content:
                if content is None:
                    done.in_use += 1
                else:
                    _compact_file(folder, path, scan(content), salvage, done)


def damage_sentence(path: Path, found: Scan) -> str:
    start, end = found.damage[0]
    return (
        f"{path}: bytes {start} to {end} do not fit their checksum although whole records follow; "
        "`tandem gateway compact --salvage` keeps the whole ones and puts the file aside"
    )


def _compact_file(folder: Path, path: Path, found: Scan, salvage: bool, done: Compacted) -> None:
    if found.damage:
        done.damaged.append(path.name)
        if not salvage:
            logger.error(damage_sentence(path, found))
            return
    if found.torn:
        logger.info("%s: its last %d bytes are half a record, as a crash leaves them; cut", path.name, found.torn)
    displays, tracked = tables_of(found.payloads)
    displays = without_second_copies(displays, "display_id")
    tracked = without_second_copies(tracked, "event_id")
    hour = path.name.partition("-")[0]
    for part, table in (("displays", displays), ("tracked", tracked)):
        if len(table):
            _write_segment(folder / part / hour / f"{path.stem}.parquet", table)
    if found.damage:
        aside = folder / "damaged"
        aside.mkdir(exist_ok=True)
        path.rename(aside / path.name)
    else:
        path.unlink()
    sync_folder(path.parent)
    done.files += 1
    done.displays += len(displays)
    done.tracked += len(tracked)


def _write_segment(path: Path, table: pa.Table) -> None:
    beside = path.with_name(f".{path.name}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with beside.open("wb") as file:
            pq.write_table(table, file, compression="zstd", write_page_checksum=True)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
        for above in (path.parent, path.parent.parent, path.parent.parent.parent):
            sync_folder(above)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise EventLogError(f"{path}: expected to write a segment of the log there, found {error}") from error


def sync_folder(folder: Path) -> None:
    """Make the names in a folder outlive the machine."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _closed(path: Path) -> Iterator[bytes | None]:
    """The content of a file nobody writes to any more, held for ourselves; None if somebody does, or it has gone."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        yield None
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        yield None
        return
    try:
        yield path.read_bytes()
    finally:
        os.close(descriptor)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One compaction at a time; a second waits for the first."""
    with (folder / ".compacting").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
