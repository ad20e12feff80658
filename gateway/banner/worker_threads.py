"""Threads that assemble banners, and the clock that watches them: every stage's deadline is kept for real.

A request's steps run one after the other on one lane (a thread), so that an undisturbed request changes threads once.
When a step overruns its limit, its lane is given up: the request goes on without that step on another lane, and a fresh
thread takes the place of the one that hangs. A step in which several lanes hang is skipped without being tried until
one of them comes back. A step that holds Python's lock while it sleeps cannot be overtaken from inside the process; the
supervisor replaces a worker that gives no sign of life.
"""

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

from gateway.banner.assembly import POOL, RANKER, SIMILAR, Draft
from gateway.errors import RefusalError
from gateway.limits import Limits

Finish = Callable[[Draft], Any]

_LOOK_AGAIN = 0.002
"""Seconds until the next look at a job that is just changing steps."""


class _Job:
    """One request on its way through a lane."""

    def __init__(self, draft: Draft, finish: Finish, ends: float, answer: asyncio.Future[Any]) -> None:
        self.draft, self.finish, self.ends, self.answer = draft, finish, ends, answer
        self.running: tuple[str, float] | None = None  # the step and when it began; None while waiting for a lane
        self.dropped = False


class Lanes:
    """The compute threads of one worker. Everything but the lanes themselves runs on the event loop's thread."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._queue: SimpleQueue[_Job | None] = SimpleQueue()
        self._hanging: Counter[str] = Counter()
        self._lock = threading.Lock()
        for _ in range(limits.lanes):
            self._start_lane()

    async def finish(self, draft: Draft, finish: Finish, ends: float) -> Any:
        """What `finish` makes of the draft once its steps are taken or left out.

        Args:
            ends: the moment (time.perf_counter) by which an answer is due: steps not taken by then are left out.
        Raises:
            RefusalError: no lane came free in time.
        """
        loop = asyncio.get_running_loop()
        job = _Job(draft, finish, ends, loop.create_future())
        self._queue.put(job)
        first = min(self._limit_of(draft.step) or self._limits.total_ms / 1e3, max(ends - time.perf_counter(), 0))
        watch = _Watch(self, job, loop, first)
        try:
            return await job.answer
        finally:
            watch.stop()

    def replace(self, job: _Job) -> _Job | None:
        """Give up the lane that hangs in the job's step; the job that goes on without it, None if it is not needed."""
        if job.running is None:
            return None
        step = job.running[0]
        with self._lock:
            draft = job.draft.without(step, "late")
            if draft is None:
                return None
            self._hanging[step] += 1
        self._start_lane()
        further = _Job(draft, job.finish, job.ends, job.answer)
        self._queue.put(further)
        return further

    def overdue_in(self, job: _Job) -> float:
        """Seconds until the job's present step is late; negative if it is."""
        now = time.perf_counter()
        if job.running is None:
            return job.ends - now
        step, began = job.running
        limit = self._limit_of(step)
        if limit is None or step != job.draft.step:  # between two steps, or past the last
            return _LOOK_AGAIN
        return min(began + limit, job.ends) - now

    def _limit_of(self, step: str | None) -> float | None:
        """Seconds a step may take; None for one that is always waited for."""
        if step is None or step == POOL:
            return None
        if step == SIMILAR:  # nothing else is asked: it may take all the time there is
            return self._limits.total_ms / 1e3
        return (self._limits.ranker_ms if step == RANKER else self._limits.source_ms) / 1e3

    def _start_lane(self) -> None:
        threading.Thread(target=self._lane, name="lane", daemon=True).start()

    def _lane(self) -> None:
        while (job := self._queue.get()) is not None:
            if job.dropped:
                continue
            hung_in = self._run(job)
            if hung_in is not None:
                with self._lock:
                    self._hanging[hung_in] -= 1
                return  # another lane took this one's place

    def _run(self, job: _Job) -> str | None:
        """Take a job's steps and finish it. The step this lane hung in, if it was given up meanwhile."""
        draft = job.draft
        draft.watch.lap("wait")
        while (step := draft.step) is not None:
            draft = job.draft = self._skip_hopeless(job, draft, step)
            if draft.step != step:
                continue
            job.running = (step, time.perf_counter())
            if not draft.take_step():
                return step
        try:
            result, error = job.finish(draft), None
        except Exception as raised:
            result, error = None, raised
        job.answer.get_loop().call_soon_threadsafe(_deliver, job.answer, result, error)
        return None

    def _skip_hopeless(self, job: _Job, draft: Draft, step: str) -> Draft:
        if self._limit_of(step) is None:
            return draft
        if self._hanging[step] >= self._limits.stuck:
            return draft.without(step, "stuck") or draft
        if time.perf_counter() >= job.ends:
            return draft.without(step, "late") or draft
        return draft


class _Watch:
    """Looks at a job again whenever its present step might be late."""

    def __init__(self, lanes: Lanes, job: _Job, loop: asyncio.AbstractEventLoop, first: float) -> None:
        self._lanes, self._job, self._loop = lanes, job, loop
        self._timer = loop.call_later(first, self._look)

    def stop(self) -> None:
        self._timer.cancel()
        self._job.dropped = True

    def _look(self) -> None:
        job = self._job
        if job.answer.done():
            return
        left = self._lanes.overdue_in(job)
        if left <= 0:
            if job.running is None:
                job.dropped = True
                job.answer.set_exception(
                    RefusalError("RESOURCE_EXHAUSTED", "the gateway is too busy to begin in time; try again later")
                )
                return
            self._job = self._lanes.replace(job) or job
            left = _LOOK_AGAIN
        self._timer = self._loop.call_later(left, self._look)


def _deliver(answer: asyncio.Future[Any], result: Any, error: Exception | None) -> None:
    if answer.done():
        return
    if error is not None:
        answer.set_exception(error)
    else:
        answer.set_result(result)
