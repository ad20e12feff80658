"""Compacting the log now and then, in a process of its own, out of the requests' way."""

import logging
import os
import time
from collections.abc import Callable, Sequence

from data.errors import TandemError
from data.workspace import Workspace
from gateway.server.processes import Child, fork_child
from gateway.settings.retention import Retention

logger = logging.getLogger(__name__)


class Compaction:
    """Forks a process that compacts the log every so many seconds, and removes what is kept no longer.

    Attributes:
        child: the process that is at it, if any.
    """

    def __init__(self, files: Workspace, seconds: float, retention: Retention) -> None:
        self._files, self._seconds, self._retention = files, seconds, retention
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
        """Compact the log in this process; damaged files are put aside, and what is too old is removed."""
        from data.eventlog import compact
        from data.eventlog.retention import remove_old_segments
        from pipeline.bundles import remove_old_bundles

        try:
            compact(self._files.log, salvage=True)
            if self._retention.log_days and (gone := remove_old_segments(self._files.log, self._retention.log_days)):
                logger.info("%d segments of the log are older than they are kept; removed", len(gone))
            if self._retention.bundles and (gone := remove_old_bundles(self._files, self._retention.bundles)):
                logger.info("bundles removed: %s", ", ".join(gone))
        except TandemError as error:
            logger.error("%s", error)

    def _nicely(self, _: int) -> int:
        os.nice(10)
        self.now()
        return 0
