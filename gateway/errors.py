"""What goes wrong online."""

import logging
import time
from collections.abc import Callable

from data.errors import TandemError

logger = logging.getLogger(__name__)


class GatewayError(TandemError):
    """A populations file, port, bundle or answer that the gateway cannot work with."""


class RefusalError(GatewayError):
    """A request that cannot be answered.

    Attributes:
        status: the name of the gRPC status code, such as "INVALID_ARGUMENT".
    """

    def __init__(self, status: str, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


def invalid(sentence: str) -> RefusalError:
    """A field that is not what it should be."""
    return RefusalError("INVALID_ARGUMENT", sentence)


class Complaints:
    """Lines for the operator about what every call meets, such as a full disk: one line per `seconds` says it."""

    def __init__(self, seconds: float = 1.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._seconds, self._silent_until, self._untold = clock, seconds, 0.0, 0

    def tell(self, error: TandemError) -> None:
        now = self._clock()
        if now < self._silent_until:
            self._untold += 1
            return
        more, self._untold = self._untold, 0
        self._silent_until = now + self._seconds
        logger.error("%s%s", error, f" (and {more:,} calls more)" if more else "")
