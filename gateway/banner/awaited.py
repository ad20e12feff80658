"""Stages that wait for something outside of this process: a store of timelines, another tier.

They stand between the others, are awaited on the event loop, and cost nothing where none is configured: only a gateway
with such stages has an `AwaitingRunner`.
"""

from abc import abstractmethod

from gateway.banner.running import Runner
from gateway.banner.stages import Progress, Stage, StateT
from gateway.banner.worker_threads import AnswerT, Encode


class Awaited(Stage[StateT]):
    """A stage of an `AwaitingRunner`."""

    @abstractmethod
    async def advance(self, progress: Progress[StateT], ends: float) -> Progress[StateT]:
        """The answer with this stage, its next one, run or left out within its limit and before `ends`
        (time.perf_counter)."""

    def run(self, progress: Progress[StateT]) -> StateT:
        """Of no use: it cannot be waited for without an event loop."""
        raise RuntimeError(f"{self.name} is awaited")


class AwaitingRunner(Runner):
    """Awaits the stages that wait, and runs the others as ever."""

    async def run(self, progress: Progress[StateT], encode: Encode[StateT, AnswerT], ends: float) -> AnswerT:
        while True:
            place = next((at for at, stage in enumerate(progress.stages) if isinstance(stage, Awaited)), None)
            if place is None:
                return await super().run(progress, encode, ends)
            if place:
                later = progress.stages[place:]
                before: Progress[StateT] = progress._replace(stages=progress.stages[:place])
                progress = (await super().run(before, as_it_is, ends))._replace(stages=later)
            stage = progress.stages[0]
            assert isinstance(stage, Awaited)
            progress = await stage.advance(progress, ends)


def as_it_is(progress: Progress[StateT]) -> Progress[StateT]:
    """What nothing is made of yet."""
    return progress
