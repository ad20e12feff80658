"""Which write-ahead files have become segments, in the order in which they did: no clock has a say in it.

log/ledger.jsonl    {"ledger": its id}, then a line per file: {"name", "displays", "tracked", "unknown"},
                    or {"removed": name} of one whose segments were taken away
"""

import json
import os
import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from data.eventlog.errors import EventLogError
from data.eventlog.names import PARTS
from data.files import force_to_disk

FILE = "ledger.jsonl"


@dataclass(frozen=True)
class Entry:
    """A file that was compacted: its name without the ending, its rows, each key once, and its unknown records."""

    name: str
    displays: int
    tracked: int
    unknown: int = 0


@dataclass(frozen=True)
class Ledger:
    """id: of this log; "" if nothing was compacted yet. entries: the oldest first. removed: names, by retention."""

    id: str = ""
    entries: tuple[Entry, ...] = ()
    removed: frozenset[str] = frozenset()


def read_ledger(folder: Path) -> Ledger:
    """The ledger of a log's folder; half a line at its end, as a crash leaves one, is no line.

    Raises:
        EventLogError: a line is none.
    """
    path = folder / FILE
    try:
        lines = path.read_bytes().split(b"\n")[:-1]
    except FileNotFoundError:
        return Ledger()
    found: list[dict[str, Any]] = []
    try:
        for line in lines:
            found.append(json.loads(line))
        entries = tuple(Entry(**one) for one in found[1:] if "removed" not in one)
        return Ledger(
            str(found[0]["ledger"]) if found else "",
            entries,
            frozenset(str(one["removed"]) for one in found[1:] if "removed" in one),
        )
    except (ValueError, TypeError, KeyError) as error:
        raise EventLogError(f"{path}, line {len(found) + 1}: expected an entry of the ledger, found {error}") from error


def append(folder: Path, entries: Sequence[Entry], removed: Sequence[str] = ()) -> None:
    """Write lines and force them to disk. Only who holds the compaction's lock may."""
    path = folder / FILE
    lines = [asdict(entry) for entry in entries] + [{"removed": name} for name in removed]
    with path.open("a+b") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        whole = file.read().rfind(b"\n") + 1 if size else 0
        if whole < size:  # half a line of a process that was killed
            file.truncate(whole)
        if not whole:
            lines = [{"ledger": uuid.uuid4().hex}, *lines]
        file.seek(0, os.SEEK_END)
        file.write("".join(f"{json.dumps(line)}\n" for line in lines).encode())
        file.flush()
        os.fsync(file.fileno())
    if not whole:
        force_to_disk(folder)


def adopt(folder: Path) -> None:
    """Begin a ledger with the segments that an earlier version left, by name."""
    if (folder / FILE).exists():
        return
    unfinished = {path.stem for path in (folder / "wal").glob("*.wal")}  # of a compaction that was killed
    counts: dict[str, dict[str, int]] = {}
    for part in PARTS:
        for path in (folder / part).glob("*/*.parquet"):
            if path.stem in unfinished:
                continue
            try:
                counts.setdefault(path.stem, {})[part] = pq.read_metadata(path).num_rows
            except (OSError, pa.ArrowException) as error:
                raise EventLogError(f"{path}: expected a Parquet segment of the log, found {error}") from error
    if counts:
        rows = (dict.fromkeys(PARTS, 0) | counts[name] for name in sorted(counts))
        append(folder, [Entry(name, **one) for name, one in zip(sorted(counts), rows, strict=True)])
