"""A process that runs beside the workers for as long as the gateway does: the HTTP server."""

import logging
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence

from gateway.server.processes import signal_at_parents_death

logger = logging.getLogger(__name__)

_FIRST_BACK_OFF, _LONGEST_BACK_OFF = 0.5, 10.0
_STOP_SECONDS = 10.0


class Companion:
    """Started once workers answer, started again when it ends, stopped before they are."""

    def __init__(self, name: str, command: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
        """`environment`: what it gets besides our own."""
        self._name, self._command, self._environment = name, command, environment
        self._process: subprocess.Popen[bytes] | None = None
        self._start_at, self._back_off = 0.0, _FIRST_BACK_OFF

    def look(self) -> None:
        """Start it if it does not run."""
        now = time.monotonic()
        if self._process is not None and (code := self._process.poll()) is not None:
            logger.error("%s ended with exit code %d; another starts in %.1f s", self._name, code, self._back_off)
            self._process, self._start_at = None, now + self._back_off
            self._back_off = min(self._back_off * 2, _LONGEST_BACK_OFF)
        if self._process is None and now >= self._start_at:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                env=os.environ | dict(self._environment or {}),
                preexec_fn=lambda: signal_at_parents_death(signal.SIGTERM),  # if the supervisor is killed
            )

    def stop(self) -> None:
        """Let it finish what it has begun, and wait for its end."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None
