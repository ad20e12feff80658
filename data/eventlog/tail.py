"""Follow the log: what came in since somebody last read, cheap enough to ask several times a second.

Files that are being written are read on from where they ended; of a file that was compacted meanwhile, the rest is
taken from its segment. A cursor counts the displays and the events taken of every file (`LogPosition`), so it outlives
compactions and restarts: each row comes once, and again only if the cursor after it was not kept.
"""

import json
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import TypeAdapter, ValidationError

from data.distinct import first_of_each
from data.errors import DataError
from data.eventlog.errors import EventLogError
from data.eventlog.framing import HEADER, PAYLOAD_LIMIT, scan
from data.eventlog.names import PARTS, hour_at, hour_of, segment_path
from data.eventlog.readers import segment
from data.eventlog.tables import tables_of

logger = logging.getLogger(__name__)

LISTED_HOURS = 48
"""Files that were begun so long ago and read wholly are no longer listed by their names."""

_READ_BYTES = 1 << 20
_TICK_NS = 100_000_000


@dataclass(frozen=True)
class LogCursor:
    """How far somebody has read the displays and the tracked events.

    Attributes:
        before: an hour such as 20261121T07; files of earlier hours were read wholly, and are not listed. "": none was.
        taken: file name without its ending -> displays and events taken from its beginning.
    """

    before: str = ""
    taken: Mapping[str, tuple[int, int]] = field(default_factory=dict)

    def of_file(self, name: str) -> dict[str, int]:
        """How many rows of a file were taken, by part."""
        return dict(zip(PARTS, self.taken.get(name, (0, 0)), strict=True))

    def dumps(self) -> str:
        return json.dumps({"before": self.before, "taken": self.taken})

    @classmethod
    def loads(cls, text: str) -> "LogCursor":
        """Of what `dumps` gave, or of "". Raises DataError for anything else."""
        try:
            return TypeAdapter(cls).validate_json(text) if text else cls()
        except ValidationError:
            raise DataError(f"expected a cursor in the log, found {text[:100]!r}") from None


@dataclass(frozen=True)
class NewRows:
    """Rows that came in, in the order of their files. `cursor`: of somebody who has taken them."""

    displays: pa.Table
    tracked: pa.Table
    cursor: LogCursor

    def __len__(self) -> int:
        return len(self.displays) + len(self.tracked)


class _File:
    """A write-ahead file, or what became of it, and how far it has been read.

    Attributes:
        skip: so many rows of each part were taken before. taken: so many were met since, those included.
        offset: of the bytes read. whole: nothing more can come.
    """

    def __init__(self, path: Path, skip: dict[str, int]) -> None:
        self.path, self.skip = path, skip
        self.taken, self.whole = dict.fromkeys(PARTS, 0), False
        self.offset = 0
        self._ids: dict[str, set[str]] = {part: set() for part in PARTS}
        self._told_damage = False

    def read(self) -> dict[str, pa.Table]:
        """Rows that were written since. Raises FileNotFoundError once it was compacted."""
        most = _READ_BYTES
        with self.path.open("rb") as file:
            while True:
                file.seek(self.offset)
                content = file.read(most)
                found = scan(content if self.offset == 0 else HEADER + content)
                if len(content) < most or most > 2 * PAYLOAD_LIMIT or (len(found) and not found.damage):
                    break
                # A record larger than what was read, or damage, whose end is to be found.
                most = 4 * most if not found.damage else 1 << 30
        if found.damage and not self._told_damage:
            self._told_damage = True
            logger.error("%s: bytes that do not fit their checksum are passed over; `tandem logs check`", self.path)
        self.offset += len(content) - found.torn
        rows = tables_of(found.payloads)
        return {"displays": self._new("displays", rows.displays), "tracked": self._new("tracked", rows.tracked)}

    def _new(self, part: str, rows: pa.Table) -> pa.Table:
        """The rows whose ids the file had not yet, less those to skip."""
        if not len(rows):
            return rows
        key, known = PARTS[part][0], self._ids[part]
        rows = first_of_each(rows, key)
        ids = rows[key].to_pylist()
        rows = rows.filter(pa.array([one not in known for one in ids])) if known else rows
        known.update(ids)
        return self._counted(part, rows)

    def _counted(self, part: str, rows: pa.Table) -> pa.Table:
        before = self.taken[part]
        self.taken[part] = before + len(rows)
        return rows.slice(max(self.skip[part] - before, 0))

    def counts(self) -> tuple[int, int]:
        """Displays and events that are done with."""
        displays, tracked = (max(self.taken[part], self.skip[part]) for part in PARTS)
        return displays, tracked

    def read_segments(self, folder: Path) -> dict[str, pa.Table]:
        """The rest, from the segments that the file became."""
        found = {}
        for part, (_, schema) in PARTS.items():
            path, taken = segment_path(folder, part, self.path.stem), max(self.taken[part], self.skip[part])
            count = rows_of_segment(path)
            rows = segment(path, schema).slice(taken) if count > taken else schema.empty_table()
            self.taken[part], found[part] = max(taken, count), rows
        self.whole = True
        self._ids = {part: set() for part in PARTS}  # what comes no more is compared with nothing
        return found


class LogTail:
    """Reads on from a cursor."""

    def __init__(self, folder: Path, cursor: LogCursor | None = None, clock: Callable[[], float] = time.time) -> None:
        """`folder`: of the log (`Workspace.log`)."""
        self._folder, self._start, self._clock = folder, cursor or LogCursor(), clock
        self._files: dict[str, _File] = {}
        self._looked_at = -1

    def read(self, most: int = 5_000) -> NewRows:
        """Rows that came in since the last call, `most` or a few more; none if nothing did.

        Raises:
            EventLogError: a segment is damaged.
        """
        self._look()
        found: dict[str, list[pa.Table]] = {part: [schema.empty_table()] for part, (_, schema) in PARTS.items()}
        rows = 0
        for file in [one for _, one in sorted(self._files.items()) if not one.whole]:
            for pieces in self._pieces(file):
                for part, piece in pieces.items():
                    found[part].append(piece)
                    rows += len(piece)
                if rows >= most:
                    break
            if rows >= most:
                break
        displays, tracked = (pa.concat_tables(found[part]) for part in PARTS)
        return NewRows(displays, tracked, self._cursor())

    def _pieces(self, file: _File) -> Iterator[dict[str, pa.Table]]:
        while True:
            try:
                offset = file.offset
                pieces = file.read()
            except FileNotFoundError:
                yield file.read_segments(self._folder)
                return
            except OSError as error:
                raise EventLogError(f"{file.path}: expected a file of the log, found {error.strerror}") from error
            yield pieces
            if file.offset == offset:
                return

    def _look(self) -> None:
        """Notice new files, whenever a name came or went since the last look."""
        wal = self._folder / "wal"
        try:
            changed = wal.stat().st_mtime_ns
        except FileNotFoundError:
            changed = 0
        if changed == self._looked_at:
            return
        # Names that come within one tick of the file system's clock leave the same time there: look once more.
        self._looked_at = changed if abs(time.time_ns() - changed) > _TICK_NS else -1
        names = {path.stem for path in wal.glob("*.wal")}
        before = min(self._start.before, self._long_ago())  # a clock that ran ahead once hides nothing
        for part in PARTS:
            for path in (self._folder / part).glob("*/*.parquet"):
                if hour_of(path.stem) >= before:
                    names.add(path.stem)
        for name in names - self._files.keys():
            self._files[name] = _File(wal / f"{name}.wal", self._start.of_file(name))

    def _long_ago(self) -> str:
        return hour_at(self._clock() - 3600 * LISTED_HOURS)

    def _cursor(self) -> LogCursor:
        """Files of long ago that are wholly read are not listed by their names."""
        before = min([self._long_ago(), *(hour_of(name) for name, file in self._files.items() if not file.whole)])
        for name in [name for name in self._files if hour_of(name) < before]:
            del self._files[name]
        taken = {name: file.counts() for name, file in self._files.items()}
        self._start = LogCursor(before, {name: counts for name, counts in taken.items() if any(counts)})
        return self._start


def rows_of_segment(path: Path) -> int:
    """How many rows a segment holds, none if it is not there. Raises EventLogError if it is damaged."""
    try:
        return int(pq.read_metadata(path).num_rows)
    except FileNotFoundError:
        return 0
    except (OSError, pa.ArrowException) as error:
        raise EventLogError(f"{path}: expected a Parquet segment of the log, found {error}") from error


def cursor_file(folder: Path, name: str) -> Path:
    """Where somebody who follows the log keeps a cursor, if nowhere else."""
    return folder / "cursors" / f"{name}.json"


def unread(folder: Path, name: str) -> list[str]:
    """Those who keep cursors beside the log and have not read a compacted file wholly. Raises DataError: a cursor is
    damaged; EventLogError: a segment is."""
    behind = []
    for path in sorted((folder / "cursors").glob("*.json")):
        cursor = LogCursor.loads(path.read_text())
        taken = cursor.of_file(name)
        passed = hour_of(name) < cursor.before
        if not passed and any(taken[part] < rows_of_segment(segment_path(folder, part, name)) for part in PARTS):
            behind.append(path.stem)
    return behind
