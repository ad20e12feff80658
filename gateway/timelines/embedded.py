"""The embedded store: one SQLite file in WAL mode, which the processes of one machine share.

Readers never wait for the writer. A killed process loses nothing that `record` returned for; a machine that loses its
power may lose the last moments, whole batches of them, and the cursor with them, so they are read from the log again.
A forgotten user's rows are overwritten on disk (secure_delete) and stay forgotten: a digest of the id stands for them.
"""

import json
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from data.schema import EventKind
from gateway.timelines.store import (
    Bounds,
    Clock,
    Happened,
    Remembered,
    Seen,
    Shown,
    TimelineError,
    counts_of,
    digest_of,
    now_us,
)

_SCHEMA = """
CREATE TABLE IF NOT EXISTS events (
    user_id TEXT, event_id TEXT, ts_us INTEGER, kind INTEGER, item_id TEXT, merchant_id TEXT,
    PRIMARY KEY (user_id, event_id)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS displays (
    user_id TEXT, display_id TEXT, ts_us INTEGER, item_ids TEXT, PRIMARY KEY (user_id, display_id)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS users (user_id TEXT PRIMARY KEY, last_us INTEGER) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS users_by_time ON users (last_us);
CREATE TABLE IF NOT EXISTS forgotten (user_digest BLOB PRIMARY KEY, until_us INTEGER) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS cursors (name TEXT PRIMARY KEY, position TEXT) WITHOUT ROWID;
"""
_WRITE_SECONDS = 10.0
_READ_SECONDS = 0.05
_EVICTED_SHARE = 50
"""Where the file is too large, one user in so many goes at a time, those first who did nothing for longest."""


class EmbeddedTimelines:
    """See `TimelineStore`. Each thread has a connection of its own; make it after forking."""

    def __init__(
        self,
        path: Path,
        bounds: Bounds = Bounds(),
        most_mib: float = 1024.0,
        writes: bool = True,
        clock: Clock = now_us,
    ) -> None:
        """
        Args:
            most_mib: of the file's content; users go who did nothing for longest.
            writes: make the file if it is not there.
        """
        self.path, self._bounds, self._most_mib, self._clock = path, bounds, most_mib, clock
        self._own = threading.local()
        if writes:
            with self._sentence():
                path.parent.mkdir(parents=True, exist_ok=True)
                self._writer = self._connect(_WRITE_SECONDS)
                self._writer.executescript(f"PRAGMA journal_mode=WAL; PRAGMA secure_delete=ON; {_SCHEMA}")

    def history(self, user_id: str, before_us: int | None = None, limit: int = 200) -> Remembered:
        now = self._clock()
        rows = self._read(
            "SELECT item_id, kind, ts_us FROM events WHERE user_id = ? AND ts_us >= ? AND ts_us < ?"
            " ORDER BY ts_us DESC, event_id DESC LIMIT ?",
            (user_id, now - self._bounds.age_us, now + 1 if before_us is None else before_us, limit),
        )
        return Remembered(*map(list, zip(*reversed(rows), strict=True))) if rows else Remembered()

    def seen(self, user_id: str, since_us: int) -> Mapping[str, Seen]:
        since = max(since_us, self._clock() - self._bounds.age_us)
        shown = self._read("SELECT item_ids, ts_us FROM displays WHERE user_id = ? AND ts_us >= ?", (user_id, since))
        clicks = self._read(
            "SELECT item_id, ts_us FROM events WHERE user_id = ? AND kind = ? AND ts_us >= ?",
            (user_id, int(EventKind.click), since),
        )
        return counts_of([(json.loads(item_ids), ts) for item_ids, ts in shown], clicks)

    def record(
        self, events: Sequence[Happened], displays: Sequence[Shown], cursor: tuple[str, str] | None = None
    ) -> None:
        now = self._clock()
        oldest = now - self._bounds.age_us
        with self._transaction() as connection:
            last = _taken_of(connection, events, displays, now)
            kept = [one for one in events if last.takes(one.user_id, one.ts_us, oldest)]
            shown = [one for one in displays if last.takes(one.user_id, one.ts_us, oldest)]
            connection.executemany(
                "INSERT OR IGNORE INTO events VALUES (?, ?, ?, ?, ?, ?)",
                [(e.user_id, e.event_id, min(e.ts_us, now), e.kind, e.item_id, e.merchant_id) for e in kept],
            )
            connection.executemany(
                "INSERT OR IGNORE INTO displays VALUES (?, ?, ?, ?)",
                [(d.user_id, d.display_id, min(d.ts_us, now), json.dumps(d.item_ids)) for d in shown],
            )
            connection.executemany(
                "INSERT INTO users VALUES (?, ?) ON CONFLICT DO UPDATE SET last_us = max(last_us, excluded.last_us)",
                last.newest.items(),
            )
            _trim(connection, self._bounds, list(last.newest), oldest)
            if cursor is not None:
                connection.execute("INSERT OR REPLACE INTO cursors VALUES (?, ?)", cursor)

    def cursor(self, name: str) -> str:
        rows = self._read("SELECT position FROM cursors WHERE name = ?", (name,))
        return str(rows[0][0]) if rows else ""

    def forget(self, user_id: str) -> tuple[int, int]:
        with self._transaction() as connection:
            connection.execute("INSERT OR REPLACE INTO forgotten VALUES (?, ?)", (digest_of(user_id), self._clock()))
            gone = _remove(connection, [user_id])
        with self._sentence():
            self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()  # no copy stays in the WAL file
        return gone

    def tidy(self) -> None:
        oldest = self._clock() - self._bounds.age_us
        with self._transaction() as connection:
            expired = connection.execute("SELECT user_id FROM users WHERE last_us < ?", (oldest,)).fetchall()
            _remove(connection, [user for (user,) in expired])
            connection.execute("DELETE FROM forgotten WHERE until_us < ?", (oldest,))  # nothing so old is taken anyway
        while self._mib() > self._most_mib:
            with self._transaction() as connection:
                (count,) = connection.execute("SELECT count(*) FROM users").fetchone()
                idle = "SELECT user_id FROM users ORDER BY last_us LIMIT ?"
                rows = connection.execute(idle, (max(1, count // _EVICTED_SHARE),)).fetchall()
                if not rows:
                    return
                _remove(connection, [user for (user,) in rows])

    def users(self) -> int:
        """How many users have a timeline."""
        return int(self._read("SELECT count(*) FROM users", ())[0][0])

    def close(self) -> None:
        """Close this thread's connections."""
        for connection in (getattr(self, "_writer", None), getattr(self._own, "connection", None)):
            if connection is not None:
                connection.close()
        self._own.__dict__.clear()

    # Reading and writing

    def _read(self, question: str, values: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        with self._sentence():
            connection = getattr(self._own, "connection", None)
            if connection is None:
                self._own.connection = connection = self._connect(_READ_SECONDS, "rw")
                connection.execute("PRAGMA query_only=ON")
            return list(connection.execute(question, values))

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._sentence():
            self._writer.execute("BEGIN IMMEDIATE")
            try:
                yield self._writer
                self._writer.execute("COMMIT")
            except BaseException:
                self._writer.execute("ROLLBACK")
                raise

    def _connect(self, seconds: float, mode: str = "rwc") -> sqlite3.Connection:
        uri = f"{self.path.absolute().as_uri()}?mode={mode}"
        return sqlite3.connect(uri, seconds, isolation_level=None, check_same_thread=False, uri=True)

    @contextmanager
    def _sentence(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise TimelineError(f"{self.path}: expected a store of timelines, found: {error}") from error

    def _mib(self) -> float:
        pages, free, size = (self._read(f"PRAGMA {one}", ())[0][0] for one in _PAGES)
        return float((pages - free) * size / 2**20)


_PAGES = ("page_count", "freelist_count", "page_size")


class _Newest:
    """Which rows of a batch are taken, and each of their users' newest time.

    until: of users who were forgotten, when.
    """

    def __init__(self, until: Mapping[str, int], now: int) -> None:
        self._until, self._now = until, now
        self.newest: dict[str, int] = {}

    def takes(self, user: str, ts: int, oldest: int) -> bool:
        if ts < oldest or ts <= self._until.get(user, -1):
            return False
        self.newest[user] = max(self.newest.get(user, 0), min(ts, self._now))
        return True


def _taken_of(
    connection: sqlite3.Connection, events: Sequence[Happened], displays: Sequence[Shown], now: int
) -> _Newest:
    users = {one.user_id for one in events} | {one.user_id for one in displays}
    until = {}
    if connection.execute("SELECT 1 FROM forgotten LIMIT 1").fetchone():
        question = "SELECT until_us FROM forgotten WHERE user_digest = ?"
        found = {user: connection.execute(question, (digest_of(user),)).fetchone() for user in users}
        until = {user: row[0] for user, row in found.items() if row}
    return _Newest(until, now)


def _trim(connection: sqlite3.Connection, bounds: Bounds, users: Sequence[str], oldest: int) -> None:
    for table, key, most in (
        ("events", "event_id", bounds.events),
        ("displays", "display_id", bounds.displays),
    ):
        connection.executemany(
            f"DELETE FROM {table} WHERE user_id = ?1 AND (ts_us < ?2 OR {key} IN (SELECT {key} FROM {table}"
            f" WHERE user_id = ?1 ORDER BY ts_us DESC, {key} DESC LIMIT -1 OFFSET ?3))",
            [(user, oldest, most) for user in users],
        )


def _remove(connection: sqlite3.Connection, users: Sequence[str]) -> tuple[int, int]:
    rows = [(user,) for user in users]
    delete: Callable[[str], int] = lambda table: (  # noqa: E731
        connection.executemany(f"DELETE FROM {table} WHERE user_id = ?", rows).rowcount
    )
    events, displays = delete("events"), delete("displays")
    delete("users")
    return events, displays
