"""Read the log: Parquet segments and the write-ahead files not yet compacted, with second copies dropped.

Files are read before segments: a compaction that runs meanwhile deletes a file only after its segment is in place, so
a record may be met twice (and one copy is dropped) but never missed.
"""

import logging
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from data.distinct import first_of_each
from data.eventlog.compaction import damage_sentence
from data.eventlog.errors import EventLogError
from data.eventlog.framing import scan
from data.eventlog.tables import tables_of
from data.parquet import read_in_schema
from data.schema import DISPLAY_SCHEMA, EVENT_SCHEMA

logger = logging.getLogger(__name__)


def read_displays(folder: Path) -> pa.Table:
    """Every display under a log folder (`Workspace.log`), by time: DISPLAY_SCHEMA; no rows if there is no log.

    Raises:
        EventLogError: a file or segment is damaged.
    """
    return _read(folder, "displays", "display_id", DISPLAY_SCHEMA)


def read_tracked(folder: Path) -> pa.Table:
    """Every tracked event (click, landing, sale, view), by time: EVENT_SCHEMA; an event sent twice appears once.

    Raises:
        EventLogError: a file or segment is damaged.
    """
    return _read(folder, "tracked", "event_id", EVENT_SCHEMA)


def _read(folder: Path, part: str, key: str, schema: pa.Schema) -> pa.Table:
    tables = dict(_pieces(folder, part, schema))
    say_what_is_damaged(folder)
    if not tables:
        return schema.empty_table()
    merged = pa.concat_tables([tables[name] for name in sorted(tables)])
    merged = first_of_each(merged, key)
    return merged.sort_by([("ts", "ascending"), (key, "ascending")])


def tracked_pieces(folder: Path) -> Iterator[tuple[str, pa.Table]]:
    """The tracked events file by file, for logs that are not to be held at once: (name of the file, EVENT_SCHEMA).

    A name may come twice, and so may an event: whoever keeps several pieces drops second copies by event_id.

    Raises:
        EventLogError: a file or segment is damaged.
    """
    return _pieces(folder, "tracked", EVENT_SCHEMA)


def _pieces(folder: Path, part: str, schema: pa.Schema) -> Iterator[tuple[str, pa.Table]]:
    for path in sorted((folder / "wal").glob("*.wal")):
        yield path.stem, pending(path)[part]
    for path in sorted((folder / part).glob("*/*.parquet")):
        yield path.stem, segment(path, schema)


def say_what_is_damaged(folder: Path) -> None:
    """A line about files that were put aside: what is read may lack records of theirs."""
    aside = len(list((folder / "damaged").glob("*.wal")))
    if aside:
        logger.warning("%s holds damaged files: %d; records of theirs may be missing", folder / "damaged", aside)


def pending(path: Path) -> dict[str, pa.Table]:
    """A write-ahead file's rows: "displays" and "tracked"; none if it was compacted meanwhile: its segment is there.

    Raises:
        EventLogError: it is damaged.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        content = b""
    found = scan(content)
    if found.damage:
        raise EventLogError(damage_sentence(path, found))
    rows = tables_of(found.payloads)
    if rows.unknown:
        logger.warning("%s: %d records of a kind that this version does not know; left out", path, len(rows.unknown))
    return {"displays": rows.displays, "tracked": rows.tracked}


def segment(path: Path, schema: pa.Schema) -> pa.Table:
    """A segment in `schema`. Raises EventLogError if it is damaged or something else."""
    return read_in_schema(path, schema, "a Parquet segment of the log", "the log", EventLogError)
