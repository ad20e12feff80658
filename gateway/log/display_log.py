"""Writes displays to the log so that a log that hangs costs an answer its limit, and others nothing.

They are written in the background (data/eventlog/background.py), and whoever has displays waits for that, for a little
while: there is nothing else to do until it is done. Where another file is to be opened first, or the system has no
such writes, a thread appends them. Once a write hangs, as it does when the file system is frozen, nobody waits until
it is back.
"""

import logging
import threading
import time
from collections.abc import Sequence
from queue import SimpleQueue
from typing import Protocol

from data.eventlog import EventLogError, LogWriter

logger = logging.getLogger(__name__)


class LateLogError(EventLogError):
    """The log took longer than its limit."""


class _UnderWay(Protocol):
    """Records on their way into the log, whoever writes them."""

    def wait(self, seconds: float) -> bool:
        """Whether they are written, or will not be, within so many seconds."""
        ...

    def finish(self) -> bool:
        """Whether they are in the log. Raises EventLogError, or something else, if they cannot be written."""
        ...


class _Job:
    """Records for the thread to write.

    Attributes:
        written: held until they are, or `error` says why not. dropped: nobody waits any more: not begun, if it is not.
    """

    def __init__(self, records: Sequence[bytes]) -> None:
        self.records = records
        self.error: Exception | None = None
        self.dropped = False
        self.written = threading.Lock()
        self.written.acquire()

    def wait(self, seconds: float) -> bool:
        self.dropped = not self.written.acquire(timeout=seconds)
        if not self.dropped:
            self.written.release()  # it is asked again, if other writes hang beside it
        return not self.dropped

    def finish(self) -> bool:
        if self.error is not None:
            raise self.error
        return True


class DisplayLog:
    """Writes displays within a limit. `write` may be called from several threads.

    Attributes:
        took_us: how long the last write took, which is the best that a display can say of its own.
    """

    def __init__(self, writer: LogWriter, limit: float) -> None:
        """`limit`: seconds."""
        self._writer, self._limit = writer, limit
        self._jobs: SimpleQueue[_Job] = SimpleQueue()
        self._hanging: list[_UnderWay] = []
        self.took_us = 0
        threading.Thread(target=self._work, name="log", daemon=True).start()

    def write(self, records: Sequence[bytes]) -> None:
        """Hand serialised `LogRecord`s to the operating system.

        Raises:
            LateLogError: that was not done within the limit, or an earlier write hangs still.
            EventLogError: they cannot be written.
        """
        if self._hanging:
            if not all(one.wait(0) for one in self._hanging):
                raise LateLogError("an earlier write to the event log has not come back")
            self._hanging = []
            logger.warning("the event log takes displays again")
        began = time.perf_counter_ns()
        if not self._done(self._writer.begin_records(records)):
            self._done(self._hand_over(records))
        self.took_us = (time.perf_counter_ns() - began) // 1000

    def _done(self, under_way: _UnderWay | None) -> bool:
        """Wait, and say whether the records are in the log."""
        if under_way is None:
            return False
        if not under_way.wait(self._limit):
            self._hanging.append(under_way)
            raise LateLogError(f"writing to the event log took longer than {1e3 * self._limit:.0f} ms")
        return under_way.finish()

    def _hand_over(self, records: Sequence[bytes]) -> _UnderWay:
        job = _Job(records)
        self._jobs.put(job)
        return job

    def _work(self) -> None:
        while True:
            job = self._jobs.get()
            try:
                if not job.dropped:
                    self._writer.append_records(job.records)
            except Exception as error:
                job.error = error
            job.written.release()
