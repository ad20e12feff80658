"""Read the displays that came in since somebody last read them: exactly those, whatever their times say.

A position counts the displays taken of every file of the log. A file keeps its name, and its displays their order, when
it becomes a segment, so a position outlives compactions. The files that were compacted first and read wholly are told
by their number in the ledger, not one by one: no clock, which may jump, has a say in it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from data.distinct import first_of_each
from data.errors import DataError
from data.eventlog.errors import EventLogError
from data.eventlog.ledger import Ledger, read_ledger
from data.eventlog.names import hour_of
from data.eventlog.readers import pending, segment
from data.schema import DISPLAY_SCHEMA


@dataclass(frozen=True)
class LogPosition:
    """How far somebody has read.

    Attributes:
        taken: file name without its ending -> displays taken from its beginning.
        ledger, compacted: id of the log's ledger; all displays of so many of its first entries were taken.
        before: as earlier versions told it: an hour such as 20261121T07; files of earlier hours were read wholly.
    """

    taken: Mapping[str, int] = field(default_factory=dict)
    ledger: str = ""
    compacted: int = 0
    before: str = ""

    def of_files(self, names: Sequence[str], displays: Sequence[int], ledger: Ledger) -> NDArray[np.int64]:
        """int64 [n]: how many of each file's displays were taken."""
        wholly = self.wholly(ledger)
        pairs = zip(names, displays, strict=True)
        return np.array([count if name in wholly else self.listed(name, count) for name, count in pairs], np.int64)

    def listed(self, name: str, displays: int) -> int:
        """How many were taken of a file that is not among `wholly`."""
        return displays if hour_of(name) < self.before else min(self.taken.get(name, 0), displays)

    def wholly(self, ledger: Ledger) -> frozenset[str]:
        """Names of the files that are not listed one by one, and were read wholly."""
        entries = ledger.entries[: self.compacted] if self.ledger == ledger.id else ()
        return frozenset(entry.name for entry in entries)

    def to_json(self) -> dict[str, Any]:
        return {name: dict(self.taken) if name == "taken" else value for name, value in vars(self).items()}

    @classmethod
    def of_json(cls, found: Any) -> "LogPosition":
        """Raises DataError for anything that `to_json` does not give, in this version or an earlier one."""
        try:
            read = cls(**({"before": found["before"], "taken": found["taken"]} | found))
            counts = [*read.taken.values(), read.compacted]
            if isinstance(read.before, str) and all(type(count) is int and count >= 0 for count in counts):
                return read
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
        start: the position from which was read. ledger: as it stood then.
    """

    table: pa.Table
    moment: NDArray[np.int64]
    file: NDArray[np.int32]
    place: NDArray[np.int64]
    names: tuple[str, ...]
    totals: NDArray[np.int64]
    start: LogPosition
    ledger: Ledger = field(default_factory=Ledger)

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
        return LoggedDisplays(*part, self.names, self.totals, self.start, self.ledger)

    def before(self, moment: int) -> "LoggedDisplays":
        """Those whose `moment` is not later than this one (UTC microseconds)."""
        return self.first(int(np.searchsorted(self.moment, moment, side="right")))

    def beyond(self, position: LogPosition) -> NDArray[np.bool_]:
        """bool [n]: which of them somebody who read up to `position` has not taken."""
        return self.place >= position.of_files(self.names, self.totals.tolist(), self.ledger)[self.file]

    def position_after(self, count: int) -> LogPosition:
        """The position of somebody who has taken the first `count` of these, and all that lay before `start`."""
        totals = self.totals.tolist()
        taken = self.start.of_files(self.names, totals, self.ledger)
        np.maximum.at(taken, self.file[:count], self.place[:count] + 1)
        unfinished = {name for name, some, all_ in zip(self.names, taken, totals, strict=True) if some < all_}
        entries = self.ledger.entries
        compacted = next((at for at, entry in enumerate(entries) if entry.name in unfinished), len(entries))
        wholly = {entry.name for entry in entries[:compacted]}
        listed = {name: one for name, one in zip(self.names, taken.tolist(), strict=True) if one and name not in wholly}
        return LogPosition(listed, self.ledger.id, compacted, self.start.before)


def read_displays_after(folder: Path, position: LogPosition | None = None) -> LoggedDisplays:
    """The displays under a log folder (`Workspace.log`) that a reader at `position` has not taken; by default all.

    Raises:
        EventLogError: a file or segment is damaged.
    """
    start, ledger = position or LogPosition(), read_ledger(folder)  # first: what is compacted meanwhile is listed
    wholly = start.wholly(ledger)
    pieces: dict[str, tuple[pa.Table, int]] = {}
    for path in sorted((folder / "wal").glob("*.wal")):
        table = first_of_each(pending(path)["displays"], "display_id")  # as its segment will have it
        pieces[path.stem] = (table, len(table))
    for path in sorted((folder / "displays").glob("*/*.parquet")):
        if path.stem not in wholly:
            pieces[path.stem] = _unread(path, start)
    return _in_order(pieces, start, ledger)


def _unread(path: Path, start: LogPosition) -> tuple[pa.Table, int]:
    """A segment and how many displays it holds; without its rows if all of them were taken."""
    try:
        count = pq.read_metadata(path).num_rows
    except (OSError, pa.ArrowException) as error:
        raise EventLogError(f"{path}: expected a Parquet segment of the log, found {error}") from error
    if start.listed(path.stem, count) >= count:
        return DISPLAY_SCHEMA.empty_table(), count
    return segment(path, DISPLAY_SCHEMA), count


def _in_order(pieces: Mapping[str, tuple[pa.Table, int]], start: LogPosition, ledger: Ledger) -> LoggedDisplays:
    names = tuple(sorted(pieces))
    tables, moments, files, places = [DISPLAY_SCHEMA.empty_table()], [], [], []
    for number, name in enumerate(names):
        table, count = pieces[name]
        first = min(start.listed(name, count), len(table))
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
    return LoggedDisplays(table, moment[order], file[order], place[order], names, totals, start, ledger)
