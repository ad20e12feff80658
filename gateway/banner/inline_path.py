"""Answers without a lane: drafts that ask only bounded sources are finished on the event loop's own thread.

A lane keeps a slow step from holding up everyone, at the price of two changes of threads and a struggle for Python's
lock, which cost more than a search itself. A bounded source (candidates/proposals.py) does a few hundred microseconds
of arithmetic whatever it is asked; waiting for it costs less than handing it over. One that overruns its limit all the
same goes by the lanes for a while, where its deadline is kept: a moment at first, since a busy machine may take the
processor away once, and twice as long each time that it overruns again (pages that left the memory).
"""

import logging
import time
from dataclasses import dataclass
from typing import Any

from gateway.banner.assembly import Draft
from gateway.banner.worker_threads import Finish
from gateway.limits import Limits

logger = logging.getLogger(__name__)

FIRST_SECONDS = 0.25
"""How long a source that overran its limit goes by the lanes, the first time."""

LONGEST_SECONDS = 10.0
"""How long at most; and after so long without overrunning, the next time is a first time again."""


@dataclass(frozen=True)
class _Bar:
    """A source goes by the lanes until then (perf_counter), for so many seconds in all."""

    until: float
    seconds: float


class Express:
    """Which drafts need no lane. Everything here runs on the event loop's thread."""

    def __init__(self, limits: Limits) -> None:
        self._limit = limits.source_ms / 1e3
        self._bars: dict[str, _Bar] = {}

    def takes(self, draft: Draft) -> bool:
        """Whether every step of the draft is a bounded source that kept its limit lately."""
        sources = draft.runtime.sources
        for step in draft.steps:
            if not getattr(sources.get(step), "bounded", False):
                return False
        if not self._bars:
            return True
        now = time.perf_counter()
        return not any(step in self._bars and self._bars[step].until > now for step in draft.steps)

    def finish(self, draft: Draft, finish: Finish) -> Any:
        """Take all steps of a draft and finish it."""
        for step in draft.steps:
            began = time.perf_counter()
            draft.take_step()
            taken = time.perf_counter() - began
            if taken > self._limit:
                self._bar(step, began + taken)
                logger.warning(
                    "%s took %.0f ms; it goes by the lanes for %.2f s", step, 1e3 * taken, self._bars[step].seconds
                )
        return finish(draft)

    def _bar(self, step: str, now: float) -> None:
        last, seconds = self._bars.get(step), FIRST_SECONDS
        if last is not None and now - last.until < LONGEST_SECONDS:
            seconds = min(2 * last.seconds, LONGEST_SECONDS)
        self._bars[step] = _Bar(now + seconds, seconds)
