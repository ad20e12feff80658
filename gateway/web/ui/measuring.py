"""What pages show of a log: measured in a thread of their own, one at a time, and kept for a while.

A log of ten million displays takes a minute; a page never waits for it. It shows the report there is, or how far the
measuring has come.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

KEPT = 8
"""Reports at most; the one asked for least recently goes."""

LEAST_SECONDS = 30.0
SHARE = 0.1
"""A report is measured again after LEAST_SECONDS, but so that measuring takes at most this share of the time."""

Value = TypeVar("Value")


@dataclass(frozen=True)
class Running:
    """Not measured yet. `seconds`: since it was asked for."""

    seconds: float


@dataclass
class _Kept(Generic[Value]):
    future: Future[Value]
    asked: float
    before: "Value | None" = None
    took: float = 0.0

    def is_old(self, now: float, least: float) -> bool:
        return self.future.done() and now - self.asked > self.took + max(least, self.took / SHARE)


class Measurements(Generic[Value]):
    """Values by key, each measured again when it is old; until then, and meanwhile, the old one stands."""

    def __init__(self, least_seconds: float = LEAST_SECONDS, clock: Callable[[], float] = time.monotonic) -> None:
        self._least, self._clock, self._lock = least_seconds, clock, threading.Lock()
        self._threads = ThreadPoolExecutor(1, "measuring")
        self._kept: OrderedDict[object, _Kept[Value]] = OrderedDict()

    def ask(self, key: object, measure: Callable[[], Value], patience: float = 0.0) -> "Value | Running":
        """The value, at most some time old; Running while there is none. Raises what `measure` raised.

        Args:
            patience: seconds to wait for a value that there is not yet.
        """
        with self._lock:
            now, kept = self._clock(), self._kept.get(key)
            if kept is None or kept.is_old(now, self._least):
                failed = kept is None or kept.future.exception() is not None
                before = None if kept is None or failed else kept.future.result()
                kept = self._kept[key] = _Kept(self._threads.submit(self._timed, key, measure), now, before)
            self._kept.move_to_end(key)
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)[1].future.cancel()
        if not kept.future.done() and kept.before is not None:
            return kept.before
        try:
            return kept.future.result(patience)
        except TimeoutError:
            return Running(self._clock() - kept.asked)

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _timed(self, key: object, measure: Callable[[], Value]) -> Value:
        began = self._clock()
        try:
            return measure()
        finally:
            with self._lock:
                if key in self._kept:
                    self._kept[key].took = self._clock() - began
