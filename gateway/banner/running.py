"""Where the stages of an answer run: on the spot if all of them are bounded, else on a worker thread with limits."""

from gateway.banner.inline_path import InlinePath
from gateway.banner.stages import Progress, StateT
from gateway.banner.worker_threads import AnswerT, Encode, WorkerThreads
from gateway.settings.limits import Limits


class Runner:
    """Runs answers under way for one worker; called on the event loop's thread."""

    def __init__(self, limits: Limits) -> None:
        self.inline, self._threads = InlinePath(), WorkerThreads(limits)

    async def run(self, progress: Progress[StateT], encode: Encode[StateT, AnswerT], ends: float) -> AnswerT:
        """What `encode` makes of the answer.

        Args:
            ends: the moment (time.perf_counter) by which an answer is due.
        Raises:
            RefusalError: no thread came free in time.
        """
        if self.inline.takes(progress):
            return await self.inline.answer(progress, encode)
        return await self._threads.run(progress, encode, ends)
