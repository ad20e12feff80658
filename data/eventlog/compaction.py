"""Turn closed write-ahead files into Parquet segments by the hour in which their records came in.

A segment is named by its file: written beside, forced to disk, renamed; then the ledger says so, and only then is the
file deleted. Stopped anywhere, the work can simply be done again: it replaces the same segment by the same rows.
"""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from data.distinct import first_of_each
from data.eventlog.errors import EventLogError
from data.eventlog.framing import HEADER, Scan, frame, scan
from data.eventlog.ledger import Entry, adopt, append, read_ledger
from data.eventlog.names import PARTS, segment_path
from data.eventlog.tables import tables_of
from data.files import force_to_disk, replaced_file
from data.locks import lock_if_free, locked

logger = logging.getLogger(__name__)


@dataclass
class Compacted:
    """What a compaction did: files turned into segments, the rows in them, files still being written, damaged files.

    unknown: records of kinds that this version does not know, kept aside under `unknown/`.
    """

    files: int = 0
    displays: int = 0
    tracked: int = 0
    in_use: int = 0
    unknown: int = 0
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
    alone = locked(folder / ".compacting", "", error=EventLogError, patience_seconds=float("inf"))
    with alone:  # a second compaction waits for the first
        for part in PARTS:
            for left_over in (folder / part).glob("*/.*"):  # of a compaction that was killed
                left_over.unlink(missing_ok=True)
        adopt(folder)
        listed = {entry.name for entry in read_ledger(folder).entries}
        for path in sorted((folder / "wal").glob("*.wal")):
            with _closed(path) as content:
                if content is None:
                    done.in_use += 1
                elif (entry := _compact_file(folder, path, scan(content), salvage, done)) is not None:
                    if entry.name not in listed:  # it is, if a compaction was killed here
                        append(folder, [entry])
                    _put_away(folder, path, damaged=path.name in done.damaged)


def damage_sentence(path: Path, found: Scan, then: str = "") -> str:
    start, end = found.damage[0]
    more = f" (and {len(found.damage) - 1} more places)" if len(found.damage) > 1 else ""
    then = then or "`tandem gateway compact --salvage` keeps the whole records and puts the file aside"
    return f"{path}: bytes {start} to {end}{more} are damaged, for they fit no checksum; {then}"


def _compact_file(folder: Path, path: Path, found: Scan, salvage: bool, done: Compacted) -> Entry | None:
    """The segments of a file; None if it is damaged and is to stay."""
    if found.damage:
        done.damaged.append(path.name)
        kept = f"its whole records are kept, and the file is put aside as {folder / 'damaged' / path.name}"
        logger.error(damage_sentence(path, found, kept if salvage else ""))
        if not salvage:
            return None
    if found.torn:
        logger.info("%s: its last %d bytes are half a record, as a crash leaves them; cut", path.name, found.torn)
    rows = tables_of(found.payloads)
    displays = first_of_each(rows.displays, "display_id")
    tracked = first_of_each(rows.tracked, "event_id")
    for part, table in (("displays", displays), ("tracked", tracked)):
        if len(table):
            _write_segment(segment_path(folder, part, path.stem), table)
    if rows.unknown:
        _keep_aside(folder / "unknown" / path.name, rows.unknown)
    done.files += 1
    done.displays += len(displays)
    done.tracked += len(tracked)
    done.unknown += len(rows.unknown)
    return Entry(path.stem, len(displays), len(tracked), len(rows.unknown))


def _put_away(folder: Path, path: Path, damaged: bool) -> None:
    """A file whose segments are in place."""
    if damaged:
        aside = folder / "damaged"
        aside.mkdir(exist_ok=True)
        path.rename(aside / path.name)
    else:
        path.unlink()
    force_to_disk(path.parent)


def _write_segment(path: Path, table: pa.Table) -> None:
    with replaced_file(path, durable=True, error=EventLogError) as beside:
        pq.write_table(table, beside, compression="zstd", write_page_checksum=True)
    for above in (path.parent.parent, path.parent.parent.parent):  # which may be new
        force_to_disk(above)


def _keep_aside(path: Path, unknown: list[bytes]) -> None:
    """A write-ahead file of records this version does not know: moved back to `wal/`, a later version reads it."""
    logger.warning("%s: %d records of a kind that this version does not know; kept there", path, len(unknown))
    with replaced_file(path, durable=True, error=EventLogError) as beside:
        beside.write_bytes(HEADER + b"".join(map(frame, unknown)))
    force_to_disk(path.parent.parent)  # the folder may be new


@contextmanager
def _closed(path: Path) -> Iterator[bytes | None]:
    """The content of a file nobody writes to any more, held for ourselves; None if somebody does, or it has gone."""
    descriptor = lock_if_free(path)
    if descriptor is None:
        yield None
        return
    try:
        yield path.read_bytes()
    finally:
        os.close(descriptor)
