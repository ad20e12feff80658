"""Prove of a log that nothing of it is missing, doubled or damaged, or name what is.

Missing is a row that something vouches for and that is not there: the ledger, for each file that was compacted, and the
cursors of those who follow the log. Doubled is a display in two files. An event that a client sent twice is kept twice
and counts once: that is no fault.
"""

from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from data.distinct import first_of_each
from data.eventlog.framing import scan
from data.eventlog.ledger import read_ledger
from data.eventlog.names import PARTS, hour_of, segment_path
from data.eventlog.tables import tables_of
from data.eventlog.tail import LogCursor
from data.schema import EVENT_KINDS

_MEMORY = "1GB"
"""What DuckDB may hold of the ids; the rest goes to the disk."""
_NAMED = 5
"""So many of one kind of fault are named at most."""


@dataclass
class CheckedFile:
    """A file of the log, or the segments that it became.

    Attributes:
        state: "wal" (being written or waiting for compaction) or "segments".
        rows: by part, each id once. unknown: records of kinds that this version does not know. torn: bytes at the end.
    """

    name: str
    state: str
    rows: dict[str, int] = field(default_factory=lambda: dict.fromkeys(PARTS, 0))
    unknown: int = 0
    torn: int = 0


@dataclass
class LogCheck:
    """What a log holds, and what is wrong with it.

    Attributes:
        displays: distinct. events: distinct, by kind. unknown: records that this version does not know.
        sent_twice: events beyond the first of their id: readers drop them.
        unshown: clicks and landings on displays that the log does not hold: of before it, or removed from it.
        behind: by name of who follows the log, rows not yet taken.
        removed: files that retention took away.
        missing, doubled, damaged: sentences, one a fault.
    """

    files: list[CheckedFile] = field(default_factory=list)
    displays: int = 0
    events: dict[str, int] = field(default_factory=dict)
    unknown: int = 0
    sent_twice: int = 0
    unshown: int = 0
    behind: dict[str, int] = field(default_factory=dict)
    removed: int = 0
    missing: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)

    @property
    def faults(self) -> list[str]:
        return [*self.missing, *self.doubled, *self.damaged]


def check_log(folder: Path) -> LogCheck:
    """Read a whole log (`Workspace.log`), every checksum of it, while it may be written. Changes nothing.

    Raises:
        EventLogError: the ledger is damaged. DataError: a cursor is.
    """
    found = LogCheck()
    with TemporaryDirectory(prefix="tandem-check-") as spill, _Ids(Path(spill)) as ids:
        files = {path.stem: file for path in _paths(folder / "wal", "*.wal") if (file := _wal(path, ids, found))}
        # Files before segments, the ledger after both: what is compacted meanwhile is met in its segments.
        segments = {path.stem for part in PARTS for path in _paths(folder / part, "*/*.parquet")}
        for name in sorted(segments):
            ids.drop(name)
            files[name] = _segments(folder, name, ids, found)
        found.files = [files[name] for name in sorted(files)]
        _compare_with_ledger(folder, files, found)
        _compare_with_cursors(folder, files, found)
        ids.judge(found)
    found.unknown += sum(file.unknown for file in found.files)
    return found


def _paths(folder: Path, pattern: str) -> list[Path]:
    return sorted(folder.glob(pattern))


def _wal(path: Path, ids: "_Ids", found: LogCheck) -> CheckedFile | None:
    try:
        content = path.read_bytes()
    except FileNotFoundError:  # it was compacted meanwhile
        return None
    except OSError as error:
        found.damaged.append(f"{path}: cannot be read ({error.strerror})")
        return None
    scanned = scan(content)
    if scanned.damage:
        start, end = scanned.damage[0]
        more = f", and {len(scanned.damage) - 1} more places" if len(scanned.damage) > 1 else ""
        found.damaged.append(f"{path}: bytes {start} to {end}{more} fit no checksum")
    rows = tables_of(scanned.payloads)
    file = CheckedFile(path.stem, "wal", unknown=len(rows.unknown), torn=scanned.torn)
    for part, (key, _) in PARTS.items():
        table = first_of_each(getattr(rows, part), key)
        file.rows[part] = len(table)
        ids.add(part, path.stem, table)
    return file


def _segments(folder: Path, name: str, ids: "_Ids", found: LogCheck) -> CheckedFile:
    file = CheckedFile(name, "segments")
    for part, (key, schema) in PARTS.items():
        path = segment_path(folder, part, name)
        try:
            read = pq.ParquetFile(path, page_checksum_verification=True)
            for batch in read.iter_batches(columns=[one for one in schema.names if one in read.schema_arrow.names]):
                ids.add(part, name, pa.Table.from_batches([batch]))
                file.rows[part] += len(batch)
        except FileNotFoundError:  # it has no rows of this part; the ledger knows whether it should
            continue
        except (OSError, KeyError, ValueError, pa.ArrowException) as error:
            found.damaged.append(f"{path}: expected a segment with its {key}s, found {' '.join(str(error).split())}")
    return file


def _compare_with_ledger(folder: Path, files: dict[str, CheckedFile], found: LogCheck) -> None:
    ledger = read_ledger(folder)
    found.removed = len(ledger.removed)
    for entry in ledger.entries:
        found.unknown += entry.unknown
        if entry.name in ledger.removed:
            continue
        held = files[entry.name].rows if entry.name in files else dict.fromkeys(PARTS, 0)
        for part in PARTS:
            expected = getattr(entry, part)
            if held[part] < expected:
                path = segment_path(folder, part, entry.name)
                found.missing.append(f"{path}: the ledger says {expected} rows, found {held[part]}")
            elif held[part] > expected:
                path = segment_path(folder, part, entry.name)
                found.doubled.append(f"{path}: the ledger says {expected} rows, found {held[part]}")
    listed = {entry.name for entry in ledger.entries}
    waiting = {path.stem for path in _paths(folder / "wal", "*.wal")}
    for name, file in files.items():
        if ledger.id and file.state == "segments" and name not in listed | waiting:
            found.doubled.append(f"{folder}: the segments of {name} are not in the ledger; a copy of another log's?")


def _compare_with_cursors(folder: Path, files: dict[str, CheckedFile], found: LogCheck) -> None:
    for path in _paths(folder / "cursors", "*.json"):
        cursor, behind = LogCursor.loads(path.read_text()), 0
        for name, file in files.items():
            taken = cursor.of_file(name)
            for part, held in file.rows.items():
                if taken[part] > held:
                    sentence = f"{name}: {path.stem} has taken {taken[part]} {part} rows of it, found {held}"
                    found.missing.append(sentence)
                elif file.state == "wal" or hour_of(name) >= cursor.before:
                    behind += held - taken[part]
        found.behind[path.stem] = behind


class _Ids:
    """The ids of all rows, in a database that may spill to a folder."""

    def __init__(self, spill: Path) -> None:
        self._db = duckdb.connect(config={"memory_limit": _MEMORY, "threads": 2})
        self._db.execute(f"SET temp_directory = '{spill}'")
        self._db.execute("CREATE TABLE ids (part TEXT, file TEXT, id TEXT, kind TEXT, display TEXT)")

    def __enter__(self) -> "_Ids":
        return self

    def __exit__(self, *_: object) -> None:
        self._db.close()

    def add(self, part: str, file: str, rows: pa.Table) -> None:
        if not len(rows):
            return
        nothing = pa.nulls(len(rows), pa.string())
        shown = part == "displays"
        table = pa.table(
            {
                "id": rows[PARTS[part][0]],
                "kind": nothing if shown else rows["kind"],
                "display": nothing if shown else pc.cast(rows["display_id"], pa.string()),
            }
        )
        self._db.register("new", table)
        self._db.execute("INSERT INTO ids SELECT ?, ?, id, kind, display FROM new", [part, file])
        self._db.unregister("new")

    def drop(self, file: str) -> None:
        """Rows of a file whose segments are counted instead."""
        self._db.execute("DELETE FROM ids WHERE file = ?", [file])

    def judge(self, found: LogCheck) -> None:
        def ask(question: str) -> list[tuple[Any, ...]]:
            return self._db.execute(question).fetchall()

        ((found.displays,),) = ask("SELECT count(DISTINCT id) FROM ids WHERE part = 'displays'")
        events = "SELECT any_value(kind) AS kind FROM ids WHERE part = 'tracked' GROUP BY id"
        kinds = dict(ask(f"SELECT kind, count(*) FROM ({events}) GROUP BY kind"))
        found.events = {kind: kinds.get(kind, 0) for kind in EVENT_KINDS}
        ((found.sent_twice,),) = ask("SELECT count(*) - count(DISTINCT id) FROM ids WHERE part = 'tracked'")
        twice = ask(
            "SELECT id, list_sort(list(DISTINCT file)) FROM ids WHERE part = 'displays' GROUP BY id HAVING count(*) > 1"
            " ORDER BY id"
        )
        for name, where in twice[:_NAMED]:
            found.doubled.append(f"display {name} stands in {' and '.join(where)} more than once")
        if len(twice) > _NAMED:
            found.doubled.append(f"{len(twice) - _NAMED} more displays stand in the log more than once")
        ((found.unshown,),) = ask(
            "SELECT count(*) FROM ids WHERE kind IN ('click', 'landing') AND display NOT IN"
            " (SELECT id FROM ids WHERE part = 'displays')"
        )
