"""The thread that writes displays to the log, so that a log that hangs costs an answer its limit, and others
nothing.

Whoever has displays waits for the thread, for a little while: the thread does nothing but write, and there is nothing
else to do until it has. Once it hangs, as it does when the file system is frozen, nobody waits until it is back.
"""

import logging
import threading
from collections.abc import Sequence
from queue import SimpleQueue

from data.eventlog import EventLogError, LogWriter

logger = logging.getLogger(__name__)


class LateLogError(EventLogError):
    """The log took longer than its limit."""


class _Job:
    """Records to write.

    Attributes:
        written: held until they are, or `error` says why not. dropped: nobody waits any more: not begun, if it is not.
    """

    def __init__(self, records: Sequence[bytes]) -> None:
        self.records = records
        self.error: Exception | None = None
        self.dropped = False
        self.written = threading.Lock()
        self.written.acquire()


class DisplayLog:
    """Writes displays within a limit. `write` may be called from several threads."""

    def __init__(self, writer: LogWriter, limit: float) -> None:
        """`limit`: seconds."""
        self._writer, self._limit = writer, limit
        self._jobs: SimpleQueue[_Job] = SimpleQueue()
        self._hanging: _Job | None = None
        threading.Thread(target=self._work, name="log", daemon=True).start()

    def write(self, records: Sequence[bytes]) -> None:
        """Hand serialised `LogRecord`s to the operating system.

        Raises:
            LateLogError: that was not done within the limit, or an earlier write hangs still.
            EventLogError: they cannot be written.
        """
        if self._hanging is not None:
            if not self._hanging.written.acquire(blocking=False):
                raise LateLogError("an earlier write to the event log has not come back")
            self._hanging = None
            logger.warning("the event log takes displays again")
        job = _Job(records)
        self._jobs.put(job)
        if not job.written.acquire(timeout=self._limit):
            job.dropped, self._hanging = True, job
            raise LateLogError(f"writing to the event log took longer than {1e3 * self._limit:.0f} ms")
        if job.error is not None:
            raise job.error

    def _work(self) -> None:
        while True:
            job = self._jobs.get()
            try:
                if not job.dropped:
                    self._writer.append_records(job.records)
            except Exception as error:
                job.error = error
            job.written.release()
