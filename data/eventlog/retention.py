"""Old segments of the log go, once everybody who keeps a cursor beside it has read them."""

import time
from collections.abc import Callable
from pathlib import Path

from data.eventlog.errors import EventLogError
from data.eventlog.ledger import append, read_ledger
from data.eventlog.names import PARTS, hour_at, hour_of, segment_path
from data.eventlog.tail import unread
from data.locks import locked


def remove_old_segments(folder: Path, days: float, clock: Callable[[], float] = time.time) -> list[str]:
    """Remove the segments of files whose hour is more than so many days ago. The ledger says so first.

    A file counts as of the newest hour that came into the ledger before it, if its own is older: what was written
    while a clock was wrong (1970) stays as long as what came in before it. An hour in the future counts for nothing.

    Returns:
        The names of the files whose segments went.
    Raises:
        EventLogError: the ledger or a cursor cannot be read.
    """
    now, limit = (hour_at(clock() - back) for back in (0, 86_400 * days))
    with locked(folder / ".compacting", "", error=EventLogError, patience_seconds=float("inf")):
        ledger, newest, gone = read_ledger(folder), "", []
        for entry in ledger.entries:
            hour = hour_of(entry.name)
            newest = max(newest, hour) if hour <= now else newest
            if max(newest, hour) < limit and entry.name not in ledger.removed and not unread(folder, entry.name):
                gone.append(entry.name)
        if gone:
            append(folder, [], removed=gone)
        for name in gone:
            for part in PARTS:
                segment_path(folder, part, name).unlink(missing_ok=True)
    return gone
