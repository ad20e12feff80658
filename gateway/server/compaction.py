"""Compacting the log now and then, in a process of its own, out of the requests' way."""

import logging
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from data.errors import TandemError
from gateway.server.processes import Child, fork_child

logger = logging.getLogger(__name__)


class Compaction:
    """Forks a process that compacts the log every so many seconds.

    Attributes:
        child: the process that is at it, if any.
    """

    def __init__(self, log: Path, seconds: float) -> None:
        self._log, self._seconds = log, seconds
        self._next = time.monotonic()
        self.child: Child | None = None

    def advance(self, let_go: Callable[[], Sequence[int]]) -> None:
        """Begin if it is time. `let_go`: descriptors that the process must not hold."""
        if self.child is not None:
            if self.child.is_gone():
                self.child = None
        elif time.monotonic() >= self._next:
            self._next = time.monotonic() + self._seconds
            self.child = fork_child(self._nicely, let_go())

    def now(self) -> None:
        """Compact the log in this process; damaged files are put aside."""
        from data.eventlog import compact

        try:
            compact(self._log, salvage=True)
        except TandemError as error:
            logger.error("%s", error)

    def _nicely(self, _: int) -> int:
        os.nice(10)
        self.now()
        return 0
