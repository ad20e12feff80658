"""Answers without a lane: drafts that ask only bounded sources are finished on the event loop's own thread.

A lane keeps a slow step from holding up everyone, at the price of two changes of threads and a struggle for Python's
lock, which cost more than a search itself. A bounded source (candidates/proposals.py) does a few hundred microseconds
of arithmetic whatever it is asked; waiting for it costs less than handing it over. One that overruns its limit all the
same (pages that left the memory) goes by the lanes for a while, where its deadline is kept.
"""

import logging
import time
from typing import Any

from gateway.assembly import Draft
from gateway.config import Limits
from gateway.lanes import Finish

logger = logging.getLogger(__name__)

BARRED_SECONDS = 10.0
"""How long a source that overran its limit goes by the lanes."""


class Express:
    """Which drafts need no lane. Everything here runs on the event loop's thread."""

    def __init__(self, limits: Limits) -> None:
        self._limit = limits.source_ms / 1e3
        self._barred: dict[str, float] = {}

    def takes(self, draft: Draft) -> bool:
        """Whether every step of the draft is a bounded source that kept its limit lately."""
        sources = draft.runtime.sources
        for step in draft.steps:
            if not getattr(sources.get(step), "bounded", False):
                return False
        if not self._barred:
            return True
        now = time.perf_counter()
        self._barred = {name: until for name, until in self._barred.items() if until > now}
        return not any(step in self._barred for step in draft.steps)

    def finish(self, draft: Draft, finish: Finish) -> Any:
        """Take all steps of a draft and finish it."""
        for step in draft.steps:
            began = time.perf_counter()
            draft.take_step()
            taken = time.perf_counter() - began
            if taken > self._limit:
                self._barred[step] = began + taken + BARRED_SECONDS
                logger.warning("%s took %.0f ms; it goes by the lanes for a while", step, 1e3 * taken)
        return finish(draft)
