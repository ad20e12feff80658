"""The gateway's log: what was shown, and what came back. Nothing acknowledged is lost, nothing is counted twice.

names (of its files) -> framing (a record and its checksum) -> writer (each worker's own write-ahead file; background:
writes that may hang) -> tables (records become rows)
-> compaction (closed files become Parquet segments by hour, which ledger lists) -> readers (both together, second
copies dropped) -> lazy (the same batch by batch, for reports) -> position (only what came in since somebody last read)
-> tail (all that comes in, while it does) -> following (handed on, at least once) -> checking (is it whole?).

    log/wal/<hour>-<nanoseconds>-<pid>.wal       being written, or closed and not yet compacted
    log/displays/<hour>/<name of its file>.parquet
    log/tracked/<hour>/<name of its file>.parquet
    log/ledger.jsonl                             which files were compacted, in the order in which they were
    log/damaged/                                 files with damage, whose whole records are in segments
    log/unknown/                                 records of kinds that this version does not know
    log/cursors/<name>.json                      how far somebody has followed it (`tail`)
"""

from data.eventlog.compaction import Compacted, compact
from data.eventlog.errors import EventLogError
from data.eventlog.lazy import LoggedRows, logged_displays, logged_events
from data.eventlog.ledger import Ledger, read_ledger
from data.eventlog.position import LoggedDisplays, LogPosition, read_displays_after
from data.eventlog.readers import read_displays, read_tracked, tracked_pieces
from data.eventlog.tail import LogCursor, LogTail, NewRows
from data.eventlog.writer import LogWriter

__all__ = [
    "Compacted",
    "EventLogError",
    "Ledger",
    "LogCursor",
    "LogPosition",
    "LogTail",
    "LogWriter",
    "LoggedDisplays",
    "LoggedRows",
    "NewRows",
    "compact",
    "logged_displays",
    "logged_events",
    "read_displays",
    "read_displays_after",
    "read_ledger",
    "read_tracked",
    "tracked_pieces",
]
