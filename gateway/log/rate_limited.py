"""Lines for the operator about what every call meets, such as a full disk."""

import logging
import time
from collections.abc import Callable

logger = logging.getLogger(__name__)


class RateLimitedLog:
    """Logs at most one error per `seconds`, with the number of those that it swallowed."""

    def __init__(
        self, seconds: float = 1.0, clock: Callable[[], float] = time.monotonic, level: int = logging.ERROR
    ) -> None:
        self._clock, self._seconds, self._level, self._silent_until, self._swallowed = clock, seconds, level, 0.0, 0

    def error(self, error: Exception) -> None:
        now = self._clock()
        if now < self._silent_until:
            self._swallowed += 1
            return
        more, self._swallowed = self._swallowed, 0
        self._silent_until = now + self._seconds
        logger.log(self._level, "%s%s", error, f" (and {more:,} calls more)" if more else "")
