"""Threads that run stages, and the clock that watches them: every stage's limit is kept for real.

An answer's stages run one after the other on one thread, so that an undisturbed request changes threads once. When a
stage overruns its limit, its thread is given up: the answer goes on without that stage on another thread, and a fresh
one takes the place of the one that hangs. A stage in which several threads hang is skipped without being tried until
one of them comes back. A stage that holds Python's lock while it sleeps cannot be overtaken from inside the process;
the supervisor replaces a worker that gives no sign of life.
"""

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from queue import SimpleQueue
from typing import Generic, Protocol, TypeVar

from gateway.banner.stages import Progress, Stage, StateT
from gateway.errors import RefusalError
from gateway.settings.limits import Limits
from gateway.wire import Reason

AnswerT = TypeVar("AnswerT")
Encode = Callable[[Progress[StateT]], AnswerT]
"""What is made of an answer whose stages have run or were left out."""

_LOOK_AGAIN = 0.002
"""Seconds until the next look at a job that is just changing stages."""


class _Task(Protocol):
    """A job, whatever it is about, as a thread sees it."""

    def work(self) -> bool:
        """Run it. False: the thread was given up meanwhile, and ends."""
        ...


class WorkerThreads:
    """The compute threads of one worker. Everything but the threads themselves runs on the event loop's thread."""

    def __init__(self, limits: Limits) -> None:
        self._stuck = limits.stuck
        self._queue: SimpleQueue[_Task] = SimpleQueue()
        self._hanging: Counter[str] = Counter()
        self.lock = threading.Lock()
        for _ in range(limits.threads):
            self.start_thread()

    async def run(self, progress: Progress[StateT], encode: Encode[StateT, AnswerT], ends: float) -> AnswerT:
        """What `encode` makes of the answer once its stages have run or were left out.

        Args:
            ends: the moment (time.perf_counter) by which an answer is due: stages not run by then are left out.
        Raises:
            RefusalError: no thread came free in time.
        """
        loop = asyncio.get_running_loop()
        job = _Job(self, progress, encode, ends, loop.create_future())
        self.put(job)
        watch = _Watch(job, loop)
        try:
            return await job.answer
        finally:
            watch.stop()

    def put(self, task: _Task) -> None:
        self._queue.put(task)

    def start_thread(self) -> None:
        threading.Thread(target=self._work, name="worker", daemon=True).start()

    def hangs(self, stage: str, by: int) -> None:
        """So many more threads hang in a stage. Called under the lock."""
        self._hanging[stage] += by

    def hopeless(self, stage: str) -> bool:
        return self._hanging[stage] >= self._stuck

    def _work(self) -> None:
        while self._queue.get().work():
            pass


class _Job(Generic[StateT, AnswerT]):
    """One answer on its way through a thread.

    Attributes:
        progress: how far it is. A thread puts the next in its place only if it is still the one that it began with.
        running: the stage and when it began; None while it waits for a thread.
        dropped: nobody waits for it: not begun if it has not been. ended: its thread has left it.
    """

    def __init__(
        self,
        threads: WorkerThreads,
        progress: Progress[StateT],
        encode: Encode[StateT, AnswerT],
        ends: float,
        answer: "asyncio.Future[AnswerT]",
    ) -> None:
        self._threads, self._encode, self.ends, self.answer = threads, encode, ends, answer
        self.progress = progress
        self.running: tuple[Stage[StateT], float] | None = None
        self.dropped = self.ended = False

    def work(self) -> bool:
        """Run the stages and encode the answer."""
        if self.dropped:
            return True
        self.progress = progress = self.progress.lap("wait")
        try:
            while (stage := progress.next) is not None:
                found = self._without_hopeless(stage, progress) or self._run(stage, progress)
                if found is None:
                    return False
                progress = found
            answer = self._encode(progress)
        except Exception as error:
            self._deliver(partial(self.answer.set_exception, error))
        else:
            self._deliver(partial(self.answer.set_result, answer))
        return True

    def seconds_left(self) -> float:
        """Until the present stage is late; negative if it is."""
        before, running = self.progress, self.running
        if running is None:
            return self.ends - time.perf_counter()
        return self._left_of(before, *running)

    def given_up(self) -> "_Job[StateT, AnswerT] | None":
        """Give up the thread that hangs in the present stage. The job that goes on without it, None if none need."""
        threads, before, running = self._threads, self.progress, self.running
        if running is None or self._left_of(before, *running) > 0:
            return None
        with threads.lock:
            if self.progress is not before:
                return None
            self.progress = before.without_next("late")
            threads.hangs(running[0].name, 1)
        threads.start_thread()
        further = _Job(threads, self.progress, self._encode, self.ends, self.answer)
        further.dropped = self.dropped
        threads.put(further)
        return further

    def _left_of(self, before: Progress[StateT], stage: Stage[StateT], began: float) -> float:
        if stage.limit is None or stage is not before.next:  # between two stages, or past the last
            return _LOOK_AGAIN
        return min(began + stage.limit, self.ends) - time.perf_counter()

    def _run(self, stage: Stage[StateT], before: Progress[StateT]) -> Progress[StateT] | None:
        """A stage run; None if this thread was given up meanwhile."""
        self.running = (stage, time.perf_counter())
        after = before.advanced()
        with self._threads.lock:
            if self.progress is before:
                self.progress = after
                return after
            self._threads.hangs(stage.name, -1)
            return None

    def _without_hopeless(self, stage: Stage[StateT], before: Progress[StateT]) -> Progress[StateT] | None:
        """The answer without a stage that would not come back in time."""
        if stage.limit is None:
            return None
        if self._threads.hopeless(stage.name):
            self.progress = before.without_next("stuck")
        elif time.perf_counter() >= self.ends:
            self.progress = before.without_next("late")
        else:
            return None
        return self.progress

    def _deliver(self, put: Callable[[], None]) -> None:
        def deliver() -> None:
            if not self.answer.done():
                put()

        self.ended = True
        self.answer.get_loop().call_soon_threadsafe(deliver)


class _Watch(Generic[StateT, AnswerT]):
    """Looks at a job again whenever its present stage might be late.

    A job that nobody waits for any more is watched until its thread is free, or given up.
    """

    def __init__(self, job: _Job[StateT, AnswerT], loop: asyncio.AbstractEventLoop) -> None:
        self._job, self._loop = job, loop
        stage = job.progress.next
        left = max(job.ends - time.perf_counter(), 0)
        first = left if stage is None or stage.limit is None else min(stage.limit, left)
        self._timer = loop.call_later(first, self._look)

    def stop(self) -> None:
        self._job.dropped = True
        if not self._holds_a_thread():
            self._timer.cancel()

    def _holds_a_thread(self) -> bool:
        return self._job.running is not None and not self._job.ended

    def _look(self) -> None:
        job = self._job
        if job.answer.done() and not self._holds_a_thread():
            return
        left = job.seconds_left()
        if left <= 0:
            if job.running is None:
                job.dropped = True
                sentence = "the gateway is too busy to begin in time; try again later"
                job.answer.set_exception(RefusalError("RESOURCE_EXHAUSTED", sentence, Reason.NO_FREE_THREAD))
                return
            self._job = job.given_up() or job
            left = _LOOK_AGAIN
        self._timer = self._loop.call_later(left, self._look)
