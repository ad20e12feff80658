"""A loop that hands on what the log takes, at least once: who is away gets it later, and the log waits for nobody."""

import logging
import signal
import time
from collections.abc import Callable
from pathlib import Path

from data.errors import TandemError
from data.eventlog.tail import LogCursor, LogTail, NewRows

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.1
_LONGEST_BACK_OFF = 5.0
_BATCH = 5_000
_IDLE_SECONDS = 60.0


class Follower:
    """Reads on from where its receiver stands, again after every failure.

    Attributes:
        rows: handed on since it began. caught_up: time.monotonic when nothing was left, or the beginning.
    """

    def __init__(
        self,
        log: Path,
        cursor: Callable[[], str],
        deliver: Callable[[NewRows], None],
        idle: Callable[[], None] = lambda: None,
    ) -> None:
        """
        Args:
            log: the folder (`Workspace.log`).
            cursor: where the receiver stands (`LogCursor.dumps`; "": at the beginning).
            deliver: returns once the rows and their cursor are safe with the receiver; raises a TandemError if not.
            idle: called once a minute.
        """
        self._log, self._cursor, self._deliver, self._idle = log, cursor, deliver, idle
        self._tail: LogTail | None = None
        self.rows, self.caught_up = 0, time.monotonic()

    @property
    def behind_seconds(self) -> float:
        """Since nothing was left to be handed on."""
        return time.monotonic() - self.caught_up

    def step(self) -> int:
        """Hand on what has come in, at most some thousand rows. Returns how many.

        Raises:
            TandemError: the receiver is away; the next step begins where it stands.
        """
        try:
            if self._tail is None:
                self._tail = LogTail(self._log, LogCursor.loads(self._cursor()))
            began, rows = time.monotonic(), self._tail.read(_BATCH)
            if len(rows):
                self._deliver(rows)
                self.rows += len(rows)
            if len(rows) < _BATCH:
                self.caught_up = began
        except TandemError:
            self._tail = None
            raise
        return len(rows)

    def run(
        self, stopping: Callable[[], bool], once: bool = False, tell: Callable[[float], None] = lambda seconds: None
    ) -> None:
        """Step until told to stop, or (`once`) until nothing is left.

        Args:
            tell: is told `behind_seconds` after every step.

        Raises:
            TandemError: only if `once`: the receiver is away. Else that is logged, once, and tried again.
        """
        wait, idle_at = POLL_SECONDS, 0.0
        while not stopping():
            try:
                found = self.step()
                if time.monotonic() > idle_at:
                    self._idle()
                    idle_at = time.monotonic() + _IDLE_SECONDS
                if wait > POLL_SECONDS:
                    logger.warning("the log is handed on again")
                wait = POLL_SECONDS
            except TandemError as error:
                if once:
                    raise
                if wait == POLL_SECONDS:
                    logger.error("%s; it is tried again until it succeeds", error)
                found, wait = 0, min(2 * wait, _LONGEST_BACK_OFF)
            tell(self.behind_seconds)
            if not found:
                if once:
                    return
                time.sleep(wait)


def stop_signal() -> Callable[[], bool]:
    """Whether this process was told to end, by SIGTERM or SIGINT: `stopping` of `Follower.run`."""
    told: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda received, _: told.append(received))
    return lambda: bool(told)
