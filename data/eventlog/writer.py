"""Append records to a write-ahead file of this process's own.

A display is handed to the operating system before the answer leaves, so the death of the process loses none; who must
not be held up begins that, and waits for as long as it can (`begin_records`).
Tracked events are forced to the disk (fsync) before they are acknowledged, so the death of the machine loses none of
them either; events whose file was deleted meanwhile are refused. Callers that wait at the same time share one fsync
(group commit).

The writer holds a lock (flock) on its file for as long as it may write there. Whoever can take that lock knows that the
file is closed, even if its writer was killed.
"""

import errno
import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from data.eventlog.background import AVAILABLE, BackgroundWrite
from data.eventlog.errors import EventLogError
from data.eventlog.framing import HEADER, frame
from data.eventlog.names import hour_at
from data.files import force_to_disk
from data.locks import try_lock
from proto.tandem.v1.log_pb2 import DisplayRecord, LogRecord
from proto.tandem.v1.tandem_pb2 import TrackedEvent

logger = logging.getLogger(__name__)

ROTATE_BYTES = 64 * 1024 * 1024
RETRY_SECONDS = 0.5
"""After a failure the log is not tried again for so long: a full disk is answered at once, not met anew each time."""
_LATELY_SECONDS = 4.0


@dataclass
class _File:
    descriptor: int
    path: Path
    hour: str
    written: int
    synced: int = 0
    closed: bool = False
    failed: bool = False
    sync_lock: threading.Lock = field(default_factory=threading.Lock)
    background: "RecordsWrite | None" = None  # at most one; whatever else is to be done with the file waits for it

    @property
    def there(self) -> int:
        """Up to where the operating system has all bytes: without those on their way in the background."""
        written, under_way = self.written, self.background
        return written if under_way is None else min(written, under_way.start)

    def retire(self) -> None:
        """Close it once all is on disk. Raises OSError: it is not."""
        if self.background is not None:
            self.background.settle()
        with self.sync_lock:
            self.closed = True
            try:
                os.fsync(self.descriptor)
                self.synced = self.written
            finally:
                os.close(self.descriptor)

    def abandon(self) -> None:
        """Close it after a failure, without vouching for what is not yet on disk."""
        if self.background is not None:
            self.background.settle()
        with self.sync_lock:
            self.closed = True
            os.close(self.descriptor)


class RecordsWrite:
    """Records on their way into a file. `start`: the offset where they begin."""

    def __init__(self, writer: "LogWriter", file: _File, frames: bytes) -> None:
        """Raises OSError if that cannot begin."""
        self._writer, self._file = writer, file
        self._write = BackgroundWrite(file.descriptor, frames)
        self.wait = self._write.wait
        self._settling, self._settled, self._kept = threading.Lock(), False, False
        self._error: EventLogError | None = None
        self.start = file.written
        file.background = self  # before `written` counts what may not be there yet
        file.written += len(frames)

    def finish(self) -> bool:
        """Whether they are in a file that has a name still. Raises EventLogError: they were not written."""
        self.settle()
        if self._error is not None:
            raise self._error
        return self._kept

    def settle(self) -> None:
        """Wait for the end and draw the consequences."""
        file = self._file
        with self._settling:
            if self._settled:
                return
            self.wait(float("inf"))
            try:
                self._write.finish()
                self._kept = not _is_deleted(file)  # whoever closes the file settles first
            except OSError as error:  # half a frame may stand at the end now
                file.failed = True
                self._error = self._writer._failed(file.path, error)
            self._settled, file.background = True, None


class LogWriter:
    """One process's end of the log. Its methods may be called from several threads; make it after forking.

    Raises:
        EventLogError: from any method, if what it was given is not safely in the log.
    """

    def __init__(self, folder: Path, rotate_bytes: int = ROTATE_BYTES, clock: Callable[[], float] = time.time) -> None:
        self._folder = folder / "wal"
        self._rotate_bytes, self._clock = rotate_bytes, clock
        self._lock = threading.Lock()
        self._file: _File | None = None
        self._failed_until = float("-inf")
        self._failure = ""
        with self._lock:
            self._current()

    def append_display(self, record: DisplayRecord) -> None:
        """Write one display. It outlives this process from here on, and the machine from the next fsync on."""
        self.append_records([LogRecord(display=record).SerializeToString()])

    def append_records(self, records: Sequence[bytes]) -> None:
        """Write displays that are serialised `LogRecord`s already, all in one go."""
        self._write(b"".join(map(frame, records)))

    def begin_records(self, records: Sequence[bytes]) -> RecordsWrite | None:
        """Begin what `append_records` does, waiting for nothing; None where that cannot be, as when another file is due
        or somebody writes just now."""
        if not AVAILABLE or not self._lock.acquire(blocking=False):
            return None
        try:
            file = self._file
            if file is None or file.background is not None or file.failed or self._is_due(file):
                return None
            return RecordsWrite(self, file, b"".join(map(frame, records)))
        except OSError:
            return None
        finally:
            self._lock.release()

    def append_tracked(self, events: Sequence[TrackedEvent]) -> int:
        """Write events and wait until they are on disk. Returns how many."""
        if not events:
            return 0
        frames = b"".join(frame(LogRecord(tracked=event).SerializeToString()) for event in events)
        self._sync(*self._write(frames))
        return len(events)

    @property
    def failed_lately(self) -> bool:
        """Whether it failed a few seconds ago: a new file may still be begun on a disk that is full."""
        return time.monotonic() < self._failed_until + _LATELY_SECONDS

    def flush(self) -> None:
        """Force what was written so far to the disk."""
        with self._lock:
            file = self._current()
            end = file.written
        self._sync(file, end)

    def close(self) -> None:
        """Force everything to disk and let go of the file."""
        with self._lock:
            if self._file is not None:
                self._retire(self._file)

    def _write(self, frames: bytes) -> tuple[_File, int]:
        """Hand whole frames to the operating system. Returns the file and the offset behind them."""
        with self._lock:
            file = self._current()
            try:
                _write_all(file.descriptor, frames)
            except OSError as error:
                # Half a frame may stand at the end now. The file ends here; its torn tail is cut when it is read.
                self._abandon(file)
                raise self._failed(file.path, error) from error
            file.written += len(frames)
            return file, file.written

    def _sync(self, file: _File, end: int) -> None:
        with file.sync_lock:
            if file.synced >= end:
                return  # another caller's fsync carried ours
            if file.closed or file.failed:
                raise EventLogError(f"{file.path} failed before these events were on disk; send them again")
            reached = file.there
            try:
                os.fsync(file.descriptor)
                if _is_deleted(file):
                    raise FileNotFoundError(errno.ENOENT, "that the file was deleted")
            except OSError as error:
                # The system may have dropped the pages now, and the next fsync would succeed without them: nothing
                # more of this file is vouched for.
                file.failed, failure = True, error
            else:
                file.synced = reached
                return
        with self._lock:
            if self._file is file:
                self._abandon(file)
            raise self._failed(file.path, failure) from failure

    def _current(self) -> _File:
        """The open file, or a new one at the start, after an hour, a size, a failure or the file's deletion. Called
        under the lock."""
        file = self._file
        if file is not None and file.background is not None:
            file.background.settle()
        if file is not None and _is_deleted(file):
            logger.error("%s was deleted while it was written; what it held is lost, another file follows", file.path)
            self._abandon(file)
        elif file is not None and file.failed:
            self._abandon(file)
        elif file is not None and self._is_due(file):
            self._retire(file)
        if self._file is None:
            if time.monotonic() < self._failed_until:
                raise EventLogError(self._failure)
            try:
                self._file = _open_new(self._folder, self._hour())
            except OSError as error:
                raise self._failed(self._folder, error) from error
        return self._file

    def _hour(self) -> str:
        return hour_at(self._clock())

    def _is_due(self, file: _File) -> bool:
        """Whether another file should follow this one."""
        return file.written >= self._rotate_bytes or file.hour != self._hour()

    def _retire(self, file: _File) -> None:
        """Called under the lock."""
        self._file = None
        try:
            file.retire()
        except OSError as error:
            raise self._failed(file.path, error) from error

    def _abandon(self, file: _File) -> None:
        """Called under the lock."""
        self._file = None
        file.abandon()

    def _failed(self, path: Path, error: OSError) -> EventLogError:
        self._failed_until = time.monotonic() + RETRY_SECONDS
        self._failure = f"{path}: expected to write the event log there, found {error.strerror or error}"
        return EventLogError(self._failure)


def _is_deleted(file: _File) -> bool:
    """Whether no name leads to the file any more: what is written there can never be read."""
    return os.fstat(file.descriptor).st_nlink == 0


def _open_new(folder: Path, hour: str) -> _File:
    """A new file, locked before anyone else can take it for a closed one."""
    folder.mkdir(parents=True, exist_ok=True)
    while True:
        path = folder / f"{hour}-{time.time_ns()}-{os.getpid()}.wal"
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o644)
        except FileExistsError:
            continue
        try:
            # Else a compaction came between and took the empty file away.
            if try_lock(descriptor) and os.fstat(descriptor).st_nlink:
                _write_all(descriptor, HEADER)
                force_to_disk(folder)
                return _File(descriptor, path, hour, written=len(HEADER))
        except OSError:
            path.unlink(missing_ok=True)
            os.close(descriptor)
            raise
        os.close(descriptor)


def _write_all(descriptor: int, content: bytes) -> None:
    left = memoryview(content)
    while left:
        left = left[os.write(descriptor, left) :]
