"""What both stages learn from: the events that were imported and those that the gateway tracked, each once; and what
banners showed and nobody clicked."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from data.engine import on_disk, read_table
from data.eventlog import logged_displays, logged_events, tracked_pieces
from data.files import write_text_atomically
from data.relations import distinct_events
from data.schema import EVENT_SCHEMA
from data.tables import load_events, read_table_file
from data.workspace import Workspace

"""What DuckDB may hold while it looks for repeated ids; the rest goes to the disk."""


@dataclass(frozen=True)
class EventCounts:
    """Where events came from.

    Attributes:
        imported: of the workspace's events.parquet.
        log: tracked through the gateway. doubled: more of them, left out since their ids had occurred.
    """

    imported: int
    log: int = 0
    doubled: int = 0

    def __str__(self) -> str:
        if not self.log + self.doubled:
            return f"{self.imported:,} imported events"
        left_out = f", {self.doubled:,} more left out since their ids had occurred" if self.doubled else ""
        return f"{self.imported:,} imported events and {self.log:,} of the gateway's log{left_out}"


@dataclass(frozen=True)
class LearningEvents:
    """Every event once.

    Attributes:
        files: Parquet with the columns of EVENT_SCHEMA: the workspace's own file, and one of the log's events.
    """

    files: tuple[Path, ...]
    counts: EventCounts

    def table(self) -> pa.Table:
        """All of them, EVENT_SCHEMA."""
        return read_events(self.files)


def learning_events(workspace: Workspace, folder: Path, with_log: bool = True) -> LearningEvents:
    """A workspace's events to learn from. Of those with one id the imported one counts, else the earliest.

    The log is read a file at a time, and ids are compared on disk where they are many.

    Args:
        folder: for the file of the log's events; one that an interrupted call with the same folder left is kept.
        with_log: False: imported events alone.

    Raises:
        DataError: the workspace holds no events. EventLogError: the log is damaged.
    """
    origin = workspace.origin()
    if not workspace.events.exists():
        load_events(workspace)
    imported = (workspace.events,)
    file, told = folder / "log.parquet", folder / "counts.json"
    if with_log and not told.exists():
        folder.mkdir(parents=True, exist_ok=True)
        counts = _write_log_events(workspace, file) or EventCounts(origin.events)
        write_text_atomically(told, json.dumps(asdict(counts)) + "\n")
    counts = EventCounts(**json.loads(told.read_text())) if with_log else EventCounts(origin.events)
    return LearningEvents((*imported, file) if counts.log else imported, counts)


def write_unclicked(workspace: Workspace, file: Path) -> int:
    """Write what users were shown in banners and never clicked in one: user_id, item_id as Parquet, each pair once.

    The log is read batch by batch, and pairs are compared on disk where they are many. Returns how many there are.

    Raises:
        EventLogError: the log is damaged.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    with on_disk(file.parent) as connection:
        displays = read_table(connection, logged_displays(workspace.log).reader("user_id", "surface", "slots.item_id"))
        displays = displays.filter(displays["surface"].fill_null("") == "")  # banners, not answers to other calls
        shown = displays.select("user_id", slot=displays["slots"].unnest())
        shown = shown.select("user_id", item_id=shown["slot"]["item_id"]).distinct()
        events = read_table(connection, logged_events(workspace.log).reader("user_id", "item_id", "kind"))
        clicked = events.filter(events["kind"] != "view").select("user_id", "item_id").distinct()
        connection.to_parquet(shown.anti_join(clicked, ["user_id", "item_id"]), file, compression="zstd")
    return int(pq.read_metadata(file).num_rows)


def read_events(files: Sequence[Path]) -> pa.Table:
    """Parquet files with the columns of EVENT_SCHEMA, one after the other.

    Raises:
        DataError: one of them is something else.
    """
    return pa.concat_tables([read_table_file(file, EVENT_SCHEMA) for file in files])


def _write_log_events(workspace: Workspace, file: Path) -> EventCounts | None:
    """Write the tracked events whose ids are not among the imported ones; None if nothing was tracked."""
    every, distinct = file.with_name("tracked.parquet"), file.with_name("distinct.parquet")
    tracked = 0
    with pq.ParquetWriter(every, EVENT_SCHEMA, compression="zstd") as writer:
        for _, piece in tracked_pieces(workspace.log):
            writer.write_table(piece)
            tracked += len(piece)
    if tracked:
        with on_disk(file.parent) as connection:
            connection.to_parquet(distinct_events(read_table(connection, every)), distinct, compression="zstd")
            once, imported = read_table(connection, distinct), read_table(connection, workspace.events)
            known = imported.semi_join(once, "event_id").select("event_id")
            new = once.anti_join(known, "event_id").order_by("ts", "event_id")
            connection.to_parquet(new, file, compression="zstd")
        distinct.unlink()
    every.unlink()
    if not tracked:
        return None
    kept = pq.read_metadata(file).num_rows
    return EventCounts(pq.read_metadata(workspace.events).num_rows, kept, tracked - kept)
