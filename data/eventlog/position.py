"""Read the displays that came in since somebody last read them: exactly those, whatever their times say.

A position counts the displays taken of every file of the log. A file keeps its name, and its displays their order, when
it becomes a segment, so a position outlives compactions. Files older than a few days that were read wholly are not
listed one by one.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from data.distinct import first_of_each
from data.errors import DataError
from data.eventlog.errors import EventLogError
from data.eventlog.readers import pending, segment
from data.schema import DISPLAY_SCHEMA

LISTED_HOURS = 48
"""A file whose hour is so far behind the newest, and which was read wholly, is no longer listed by its name."""

_HOUR = "%Y%m%dT%H"


@dataclass(frozen=True)
class LogPosition:
    """How far somebody has read.

    Attributes:
        before: an hour such as 20261121T07; all displays of files of earlier hours were taken. "": nothing was.
        taken: file name without its ending -> displays taken from its beginning.
    """

    before: str = ""
    taken: Mapping[str, int] = field(default_factory=dict)

    def of_file(self, name: str, displays: int) -> int:
        """How many of a file's displays were taken."""
        return displays if _hour(name) < self.before else self.taken.get(name, 0)

    def to_json(self) -> dict[str, Any]:
        return {"before": self.before, "taken": dict(self.taken)}

    @classmethod
    def of_json(cls, found: Any) -> "LogPosition":
        """Raises DataError for anything that `to_json` does not give."""
        try:
            before, taken = found["before"], found["taken"]
            if isinstance(before, str) and all(type(count) is int and count >= 0 for count in taken.values()):
                return cls(before, dict(taken))
        except (KeyError, TypeError, AttributeError):
            pass
        raise DataError(f"expected a position in the log ('before', and 'taken' by file), found {str(found)[:100]}")


@dataclass(frozen=True)
class LoggedDisplays:
    """Displays in the order in which they were logged, as far as that is known; of one file always in its order.

    Attributes:
        table: DISPLAY_SCHEMA, n rows.
        moment: int64 [n], UTC microseconds, ascending: the newest `ts` of its file up to the display itself.
        file: int32 [n], whose name is in `names`. place: int64 [n], among all displays of its file.
        names: files that were read. totals: int64, displays in each, those taken before included.
        start: the position from which was read.
    """

    table: pa.Table
    moment: NDArray[np.int64]
    file: NDArray[np.int32]
    place: NDArray[np.int64]
    names: tuple[str, ...]
    totals: NDArray[np.int64]
    start: LogPosition

    def __len__(self) -> int:
        return len(self.moment)

    @classmethod
    def of_table(cls, displays: pa.Table) -> "LoggedDisplays":
        """Displays that lie in no log: their position means nothing to one."""
        displays = displays.sort_by([("ts", "ascending"), ("display_id", "ascending")])
        count = len(displays)
        moment = displays["ts"].cast(pa.int64()).to_numpy()
        nothing = np.zeros(count, np.int32)
        return cls(displays, moment, nothing, np.arange(count), ("",), np.array([count]), LogPosition())

    def first(self, count: int) -> "LoggedDisplays":
        """Those logged first."""
        return self._from_to(0, count)

    def last(self, count: int) -> "LoggedDisplays":
        """Those logged last. A position after them counts what they leave out as taken."""
        return self._from_to(max(len(self) - count, 0), len(self))

    def _from_to(self, start: int, end: int) -> "LoggedDisplays":
        rows = slice(start, end)
        part = (self.table.slice(start, end - start), self.moment[rows], self.file[rows], self.place[rows])
        return LoggedDisplays(*part, self.names, self.totals, self.start)

    def before(self, moment: int) -> "LoggedDisplays":
        """Those whose `moment` is not later than this one (UTC microseconds)."""
        return self.first(int(np.searchsorted(self.moment, moment, side="right")))

    def beyond(self, position: LogPosition) -> NDArray[np.bool_]:
        """bool [n]: which of them somebody who read up to `position` has not taken."""
        taken = [position.of_file(name, total) for name, total in zip(self.names, self.totals.tolist(), strict=True)]
        return self.place >= np.array(taken, np.int64)[self.file]

    def position_after(self, count: int) -> LogPosition:
        """The position of somebody who has taken the first `count` of these, and all that lay before `start`."""
        totals = self.totals.tolist()
        taken = np.array([self.start.of_file(name, total) for name, total in zip(self.names, totals, strict=True)])
        np.maximum.at(taken, self.file[:count], self.place[:count] + 1)
        by_name = dict(zip(self.names, taken.tolist(), strict=True))
        unfinished = [_hour(name) for name, total in zip(self.names, totals, strict=True) if by_name[name] < total]
        before = max(self.start.before, min([_settled(self.names), *unfinished]))
        listed = {name: one for name, one in by_name.items() if one and _hour(name) >= before}
        return LogPosition(before, listed)


def read_displays_after(folder: Path, position: LogPosition | None = None) -> LoggedDisplays:
    """The displays under a log folder (`Workspace.log`) that a reader at `position` has not taken; by default all.

    Raises:
        EventLogError: a file or segment is damaged.
    """
    start = position or LogPosition()
    pieces: dict[str, tuple[pa.Table, int]] = {}
    for path in sorted((folder / "wal").glob("*.wal")):
        if _hour(path.stem) >= start.before:
            table = first_of_each(pending(path)["displays"], "display_id")  # as its segment will have it
            pieces[path.stem] = (table, len(table))
    for path in sorted((folder / "displays").glob("*/*.parquet")):
        if _hour(path.stem) >= start.before:
            pieces[path.stem] = _unread(path, start)
    return _in_order(pieces, start)


def _unread(path: Path, start: LogPosition) -> tuple[pa.Table, int]:
    """A segment and how many displays it holds; without its rows if all of them were taken."""
    try:
        count = pq.read_metadata(path).num_rows
    except (OSError, pa.ArrowException) as error:
        raise EventLogError(f"{path}: expected a Parquet segment of the log, found {error}") from error
    if start.of_file(path.stem, count) >= count:
        return DISPLAY_SCHEMA.empty_table(), count
    return segment(path, DISPLAY_SCHEMA), count


def _in_order(pieces: Mapping[str, tuple[pa.Table, int]], start: LogPosition) -> LoggedDisplays:
    names = tuple(sorted(pieces))
    tables, moments, files, places = [DISPLAY_SCHEMA.empty_table()], [], [], []
    for number, name in enumerate(names):
        table, count = pieces[name]
        first = min(start.of_file(name, count), len(table))
        tables.append(table.slice(first))
        moments.append(np.maximum.accumulate(table["ts"].cast(pa.int64()).to_numpy())[first:])
        files.append(np.full(len(table) - first, number, np.int32))
        places.append(np.arange(first, len(table)))
    moment = np.concatenate([np.empty(0, np.int64), *moments])
    file = np.concatenate([np.empty(0, np.int32), *files])
    place = np.concatenate([np.empty(0, np.int64), *places])
    order = np.lexsort((place, file, moment))
    table = pa.concat_tables(tables).take(pa.array(order))
    totals = np.array([pieces[name][1] for name in names], np.int64)
    return LoggedDisplays(table, moment[order], file[order], place[order], names, totals, start)


def _settled(names: tuple[str, ...]) -> str:
    """The hour before which no file need be listed, as far as the newest file tells. "" if no name holds an hour."""
    try:
        newest = datetime.strptime(max(map(_hour, names), default=""), _HOUR)
    except ValueError:
        return ""
    return (newest - timedelta(hours=LISTED_HOURS)).strftime(_HOUR)


def _hour(name: str) -> str:
    return name.partition("-")[0]
