"""The newest part of a log, counted: rates, shares, what failed, times. Bounded, however long the log is."""

from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data.eventlog import LoggedRows, logged_displays, logged_events

MINUTES = 60
"""Before the newest display."""

MOST_ROWS = 200_000
"""Of the newest files; with more the shown minutes are fewer."""

_FILES = 8
_DISPLAYS = ("ts", "population", "degraded", "stage_us", "slots.sources")


@dataclass(frozen=True)
class Recent:
    """What the log says of its newest minutes.

    Attributes:
        newest: the moment of the newest display. minutes: how many are counted.
        per_minute: displays of each of them, oldest first.
        populations: name -> displays. degraded: cause -> displays. events: kind -> events.
        shares: population -> source -> part of the slots, a slot of k sources counting 1 / k for each.
        stages: (name, displays, median and 99th percentile in microseconds), as logged, then "total".
        writers: write-ahead files open now, one for each worker that writes.
    """

    newest: datetime
    minutes: int
    displays: int
    per_minute: tuple[int, ...]
    populations: dict[str, int]
    degraded: dict[str, int]
    degraded_displays: int
    empty: int
    events: dict[str, int]
    shares: dict[str, dict[str, float]]
    stages: tuple[tuple[str, int, float, float], ...]
    writers: int


def recent_of(folder: Path) -> Recent | None:
    """Count the log's newest minutes; None if it holds no display. Raises EventLogError: a file is damaged."""
    displays = _newest(logged_displays(folder), _DISPLAYS)
    if not len(displays):
        return None
    newest = pc.max(displays["ts"]).as_py()
    oldest = newest - timedelta(minutes=MINUTES)
    cut = len(displays) >= MOST_ROWS
    if cut:
        oldest = max(oldest, pc.min(displays["ts"]).as_py())
    minutes = max(1, round((newest - oldest).total_seconds() / 60))
    displays = _since(displays, oldest)
    events = _since(_newest(logged_events(folder), ("ts", "kind")), oldest)
    marks = [mark for marks in displays["degraded"].to_pylist() for mark in set(marks)]
    sizes = pc.list_value_length(displays["slots"])
    return Recent(
        newest=newest,
        minutes=minutes,
        displays=len(displays),
        per_minute=_per_minute(displays["ts"], newest, minutes),
        populations=_counted(displays["population"]),
        degraded=dict(Counter(marks).most_common()),
        degraded_displays=pc.sum(pc.greater(pc.list_value_length(displays["degraded"]), 0)).as_py() or 0,
        empty=pc.sum(pc.equal(sizes, 0)).as_py() or 0,
        events=_counted(events["kind"]),
        shares=_shares(displays),
        stages=tuple(_stages(displays["stage_us"])),
        writers=len(list((folder / "wal").glob("*.wal"))),
    )


def _newest(logged: LoggedRows, columns: tuple[str, ...]) -> pa.Table:
    """The rows of write-ahead files, and of the newest segments at most MOST_ROWS."""
    kept: deque[pa.RecordBatch] = deque()
    held = 0
    reader = LoggedRows(logged.rows.slice(0, 0), logged.segments[-_FILES:]).reader(*columns)
    for batch in reader:
        kept.append(batch)
        held += len(batch)
        while held - len(kept[0]) >= MOST_ROWS:
            held -= len(kept.popleft())
    waiting = LoggedRows(logged.rows.slice(max(0, len(logged.rows) - MOST_ROWS))).reader(*columns)
    return pa.concat_tables([pa.Table.from_batches(kept, reader.schema), waiting.read_all()])


def _since(table: pa.Table, oldest: datetime) -> pa.Table:
    return table.filter(pc.greater_equal(table["ts"], pa.scalar(oldest, table["ts"].type)))


def _per_minute(ts: pa.ChunkedArray, newest: datetime, minutes: int) -> tuple[int, ...]:
    ago = (pa.scalar(newest, ts.type).cast(pa.int64()).as_py() - ts.cast(pa.int64()).to_numpy()) // 60_000_000
    return tuple(np.bincount(np.minimum(ago, minutes - 1), minlength=minutes)[::-1].tolist())


def _counted(column: pa.ChunkedArray) -> dict[str, int]:
    found = {row["values"]: row["counts"] for row in pc.value_counts(column).to_pylist()}
    return dict(sorted(found.items()))


def _shares(displays: pa.Table) -> dict[str, dict[str, float]]:
    counts: dict[tuple[str, tuple[str, ...]], int] = Counter()
    for population, slots in zip(displays["population"].to_pylist(), displays["slots"].to_pylist(), strict=True):
        for slot in slots:
            counts[population, tuple(slot["sources"])] += 1
    found: dict[str, dict[str, float]] = {}
    for (population, sources), count in counts.items():
        mine = found.setdefault(population, {})
        for source in sources:
            mine[source] = mine.get(source, 0.0) + count / len(sources)
    return {name: _parts(found[name]) for name in sorted(found)}


def _parts(weights: dict[str, float]) -> dict[str, float]:
    total = sum(weights.values())
    return {name: weights[name] / total for name in sorted(weights)}


def _stages(column: pa.ChunkedArray) -> Iterable[tuple[str, int, float, float]]:
    maps = column.combine_chunks()
    if not len(maps):
        return
    names, times = np.asarray(maps.keys.to_pylist(), dtype=object), maps.items.to_numpy()
    row = np.repeat(np.arange(len(maps)), np.diff(maps.offsets.to_numpy()))
    for name in dict.fromkeys(names):
        yield _stage(str(name), times[names == name])
    if len(times):
        yield _stage("total", np.bincount(row, times)[np.unique(row)])


def _stage(name: str, times: np.ndarray[Any, Any]) -> tuple[str, int, float, float]:
    middle, slow = np.percentile(times, (50, 99))
    return name, len(times), float(middle), float(slow)
