"""Answers without a thread of their own: bounded stages alone are run on the event loop's thread.

A worker thread keeps a slow stage from holding up everyone, at the price of two changes of threads and a struggle for
Python's lock, which cost more than a search itself. A bounded source (candidates/proposals.py) does a few hundred
microseconds of arithmetic whatever it is asked; waiting for it costs less than handing it over. One that overruns its
limit all the same goes to the worker threads for a while, where its limit is kept: a moment at first, since a busy
machine may take the processor away once, and twice as long each time that it overruns again (pages that left the
memory).
"""

import logging
import time
from dataclasses import dataclass

from gateway.banner.stages import Progress, StateT

logger = logging.getLogger(__name__)

FIRST_SECONDS = 0.25
"""How long a source that overran its limit goes to the worker threads, the first time."""

LONGEST_SECONDS = 10.0
"""How long at most; and after so long without overrunning, the next time is a first time again."""


@dataclass(frozen=True)
class _Bar:
    """A stage goes to the worker threads until then (perf_counter), for so many seconds in all."""

    until: float
    seconds: float


class InlinePath:
    """Which answers need no thread. Everything here runs on the event loop's thread."""

    def __init__(self) -> None:
        self._bars: dict[str, _Bar] = {}

    def takes(self, progress: Progress[StateT]) -> bool:
        """Whether every stage is bounded and kept its limit lately."""
        if not all(stage.bounded for stage in progress.stages):
            return False
        if not self._bars:
            return True
        now = time.perf_counter()
        return not any(stage.name in self._bars and self._bars[stage.name].until > now for stage in progress.stages)

    def run(self, progress: Progress[StateT]) -> Progress[StateT]:
        """Run all stages."""
        while (stage := progress.next) is not None:
            began = time.perf_counter()
            progress = progress.advanced()
            taken = time.perf_counter() - began
            if stage.limit is not None and taken > stage.limit:
                self._bar(stage.name, began + taken)
                logger.warning(
                    "%s took %.0f ms; it goes to the worker threads for %.2f s",
                    stage.name,
                    1e3 * taken,
                    self._bars[stage.name].seconds,
                )
        return progress

    def _bar(self, name: str, now: float) -> None:
        last, seconds = self._bars.get(name), FIRST_SECONDS
        if last is not None and now - last.until < LONGEST_SECONDS:
            seconds = min(2 * last.seconds, LONGEST_SECONDS)
        self._bars[name] = _Bar(now + seconds, seconds)
