"""A store is filled from the gateway's log, as it is written, and from imported events."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from data.errors import DataError
from data.eventlog import NewRows
from data.eventlog.following import Follower
from data.schema import EVENT_KINDS, EVENT_SCHEMA
from gateway.timelines.store import Happened, Shown, TimelineStore

CURSOR = "log"
_IMPORT_BATCH = 20_000


def events_of(table: pa.Table) -> list[Happened]:
    """The rows of EVENT_SCHEMA."""
    kinds = [EVENT_KINDS.index(kind) for kind in table["kind"].to_pylist()]
    ids, users, items, merchants = (
        table[name].to_pylist() for name in ("event_id", "user_id", "item_id", "merchant_id")
    )
    times = table["ts"].cast(pa.int64()).to_pylist()
    return list(map(Happened._make, zip(ids, users, times, kinds, items, merchants, strict=True)))


def displays_of(table: pa.Table) -> list[Shown]:
    """The rows of DISPLAY_SCHEMA."""
    items = [tuple(slot["item_id"] for slot in slots) for slots in table["slots"].to_pylist()]
    ids, users = (table[name].to_pylist() for name in ("display_id", "user_id"))
    times = table["ts"].cast(pa.int64()).to_pylist()
    return list(map(Shown._make, zip(ids, users, times, items, strict=True)))


def follower_of(store: TimelineStore, log: Path) -> Follower:
    """Records what the log (`Workspace.log`) takes; its cursor is kept in the store, with what was recorded."""

    def record(rows: NewRows) -> None:
        store.record(events_of(rows.tracked), displays_of(rows.displays), (CURSOR, rows.cursor.dumps()))

    return Follower(log, lambda: store.cursor(CURSOR), record, store.tidy)


def import_events(store: TimelineStore, file: Path, oldest_us: int) -> tuple[int, int]:
    """Record the events of a Parquet file (EVENT_SCHEMA). Returns how many were taken, and how many were too old.

    Raises:
        DataError: the file is something else. TimelineError: the store does not take them.
    """
    taken = old = 0
    for table in _tables(file):
        events = events_of(table)
        recent = [event for event in events if event.ts_us >= oldest_us]
        for start in range(0, len(recent), _IMPORT_BATCH):
            store.record(recent[start : start + _IMPORT_BATCH], [])
        taken, old = taken + len(recent), old + len(events) - len(recent)
    store.tidy()
    return taken, old


def _tables(file: Path) -> Iterator[pa.Table]:
    expected = f"{file}: expected a Parquet file with columns {', '.join(EVENT_SCHEMA.names)}"
    try:
        for batch in pq.ParquetFile(file).iter_batches(_IMPORT_BATCH, columns=EVENT_SCHEMA.names):
            yield pa.Table.from_batches([batch]).cast(EVENT_SCHEMA)
    except (OSError, ValueError, KeyError, pa.ArrowException) as error:
        raise DataError(f"{expected}; {error}") from error
