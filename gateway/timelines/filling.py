"""A store is filled from the gateway's log, as it is written, and from imported events."""

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from data.errors import DataError, TandemError
from data.eventlog import LogCursor, LogTail
from data.schema import EVENT_KINDS, EVENT_SCHEMA
from gateway.timelines.store import Happened, Shown, TimelineStore

logger = logging.getLogger(__name__)

CURSOR = "log"
POLL_SECONDS = 0.1
_TIDY_SECONDS = 60.0
_LONGEST_BACK_OFF = 5.0
_BATCH = 5_000
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


@dataclass
class Followed:
    """What a follower has recorded since it began."""

    events: int = 0
    displays: int = 0


class LogFollower:
    """Records what the log takes; a store that is away costs a delay, and nothing of the log."""

    def __init__(self, store: TimelineStore, log: Path) -> None:
        """`log`: the folder (`Workspace.log`)."""
        self._store, self._log = store, log
        self._tail: LogTail | None = None
        self.done = Followed()

    def step(self) -> int:
        """Record what has come in, at most a few thousand rows. Returns how many.

        Raises:
            TimelineError: the store is away; the next step begins where the last one ended well.
        """
        try:
            if self._tail is None:
                self._tail = LogTail(self._log, LogCursor.loads(self._store.cursor(CURSOR)))
            rows = self._tail.read(_BATCH)
            if len(rows):
                events, displays = events_of(rows.tracked), displays_of(rows.displays)
                self._store.record(events, displays, (CURSOR, rows.cursor.dumps()))
                self.done.events += len(events)
                self.done.displays += len(displays)
        except TandemError:
            self._tail = None
            raise
        return len(rows)

    def run(self, stopping: Callable[[], bool], until_done: bool = False) -> None:
        """Step until told to stop, or, if so asked, until nothing is left. Raises TimelineError: only if so asked."""
        wait, tidy_at = POLL_SECONDS, 0.0
        while not stopping():
            try:
                found = self.step()
                if time.monotonic() > tidy_at:
                    self._store.tidy()
                    tidy_at = time.monotonic() + _TIDY_SECONDS
                wait = POLL_SECONDS
            except TandemError as error:
                if until_done:
                    raise
                if wait == POLL_SECONDS:
                    logger.error("%s; the log is followed again once it answers", error)
                found, wait = 0, min(2 * wait, _LONGEST_BACK_OFF)
            if not found:
                if until_done:
                    return
                time.sleep(wait)


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
