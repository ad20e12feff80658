"""Answers without a thread of their own: bounded stages alone are run on the event loop's thread, by all requests that
have arrived.

A worker thread keeps a slow stage from holding up everyone, at the price of two changes of threads and a struggle for
Python's lock, which cost more than a search itself. A bounded source (candidates/proposals.py) does a few hundred
microseconds of arithmetic whatever it is asked; waiting for it costs less than handing it over. One that overruns its
limit all the same goes to the worker threads for a while, where its limit is kept: a moment at first, since a busy
machine may take the processor away once, and twice as long each time that it overruns again (pages that left the
memory).

What has arrived is taken together, and where requests came several at a time lately, the first waits a moment for the
others: one stage of all answers after the other, for a stage that has just run is quicker the next time, and a stage
that shares something with others (`Stage.together`), such as the log, in one step.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, NoReturn, cast

from gateway.banner.stages import Progress, Stage, StateT
from gateway.banner.worker_threads import AnswerT, Encode

logger = logging.getLogger(__name__)

FIRST_SECONDS = 0.25
"""How long a source that overran its limit goes to the worker threads, the first time."""

LONGEST_SECONDS = 10.0
"""How long at most; and after so long without overrunning, the next time is a first time again."""


STRANGERS_SECONDS = 0.001
"""How long a request waits at most for those that are answered together with it."""

GATHER_SECONDS = 0.0005
"""Where several came together lately, the first waits so long for the others; event loops count in milliseconds."""

_MOST = 16
_NEWEST = 0.3
"""How much the newest company counts in how many are waited for."""

_MEMORY = 0.1
"""How much the newest measurement counts in what an answer takes."""


@dataclass(frozen=True)
class _Bar:
    """A stage goes to the worker threads until then (perf_counter), for so many seconds in all."""

    until: float
    seconds: float


@dataclass(frozen=True)
class _Arrived(Generic[StateT, AnswerT]):
    """A request that waits for its answer."""

    progress: Progress[StateT]
    encode: Encode[StateT, AnswerT]
    answer: "asyncio.Future[AnswerT]"


class InlinePath:
    """Which answers need no thread, and those answers. Everything here runs on the event loop's thread."""

    def __init__(self) -> None:
        self._bars: dict[str, _Bar] = {}
        self._arrived: deque[_Arrived[Any, Any]] = deque()
        self._seconds_each = STRANGERS_SECONDS
        self._company = 1.0
        self._taking: asyncio.Handle | None = None
        self._waits = False

    def takes(self, progress: Progress[StateT]) -> bool:
        """Whether every stage is bounded and kept its limit lately."""
        if not all(stage.bounded for stage in progress.stages):
            return False
        if not self._bars:
            return True
        now = time.perf_counter()
        return not any(stage.name in self._bars and self._bars[stage.name].until > now for stage in progress.stages)

    async def answer(self, progress: Progress[StateT], encode: Encode[StateT, AnswerT]) -> AnswerT:
        """What `encode` makes of the answer once all stages have run, together with those that have arrived by then.

        Those are counted first, so that a flood is refused.
        """
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[AnswerT] = loop.create_future()
        self._arrived.append(_Arrived(progress, encode, answer))
        self._gather(loop)
        return await answer

    def _gather(self, loop: asyncio.AbstractEventLoop) -> None:
        """Take those that have arrived at once if they are as many as came together lately, else a moment later."""
        if self._taking is not None:
            if not self._waits or len(self._arrived) < self._company - 0.5:
                return
            self._taking.cancel()
        self._waits = len(self._arrived) < self._company - 0.5
        self._taking = loop.call_later(GATHER_SECONDS, self._take) if self._waits else loop.call_soon(self._take)

    def _take(self) -> None:
        """Answer those that have arrived; as many as do not keep each other waiting for too long."""
        self._taking = None
        self._company += _NEWEST * (len(self._arrived) - self._company)
        most = min(_MOST, 1 + int(STRANGERS_SECONDS / self._seconds_each))
        taken = [self._arrived.popleft() for _ in range(min(most, len(self._arrived)))]
        waiting = [one for one in taken if not one.answer.done()]
        began = time.perf_counter()
        for one, done in zip(waiting, self.run_all([one.progress for one in waiting]), strict=True):
            try:
                one.answer.set_result(one.encode(done) if isinstance(done, Progress) else _raised(done))
            except Exception as error:
                one.answer.set_exception(error)
        if waiting:
            each = (time.perf_counter() - began) / len(waiting)
            self._seconds_each += _MEMORY * (each - self._seconds_each)
        if self._arrived:
            self._gather(asyncio.get_running_loop())

    def run(self, progress: Progress[StateT]) -> Progress[StateT]:
        """Run all stages of one answer."""
        (done,) = self.run_all([progress])
        return done if isinstance(done, Progress) else _raised(done)

    def run_all(self, answers: Sequence[Progress[StateT]]) -> list[Progress[StateT] | Exception]:
        """Run all stages of several answers; what an answer cannot do without may fail, and so the answer."""
        under_way: list[Progress[StateT] | Exception] = list(answers)
        while True:
            groups: dict[int, list[int]] = {}
            ended = True
            for place, one in enumerate(under_way):
                if isinstance(one, Progress) and one.stages:
                    ended = False
                    shared = one.stages[0].together
                    if shared is None:
                        under_way[place] = self._alone(one, len(answers))
                    else:
                        groups.setdefault(id(shared), []).append(place)
            if ended:
                return under_way
            for group in groups.values():
                together = self._together([cast(Progress[StateT], under_way[place]) for place in group])
                for place, after in zip(group, together, strict=True):
                    under_way[place] = after

    def _alone(self, progress: Progress[StateT], company: int) -> Progress[StateT] | Exception:
        """The next stage of one answer."""
        stage, began = progress.stages[0], time.perf_counter()
        try:
            return (progress if company == 1 else progress.lap("wait")).advanced()
        except Exception as error:
            return error
        finally:
            self._judge(stage, began)

    def _together(self, answers: list[Progress[StateT]]) -> list[Progress[StateT] | Exception]:
        if len(answers) > 1:
            answers = [one.lap("wait") for one in answers]
        began, stage = time.perf_counter(), answers[0].stages[0]
        outcomes = stage.run_all(answers)
        found: list[Progress[StateT] | Exception] = []
        for answer, outcome in zip(answers, outcomes, strict=True):
            try:
                found.append(answer.given(outcome))
            except Exception as error:
                found.append(error)
        self._judge(stage, began)
        return found

    def _judge(self, stage: Stage[StateT], began: float) -> None:
        """Bar a stage that overran its limit."""
        now = time.perf_counter()
        if stage.limit is None or now - began <= stage.limit:
            return
        self._bar(stage.name, now)
        logger.warning(
            "%s took %.0f ms; it goes to the worker threads for %.2f s",
            stage.name,
            1e3 * (now - began),
            self._bars[stage.name].seconds,
        )

    def _bar(self, name: str, now: float) -> None:
        last, seconds = self._bars.get(name), FIRST_SECONDS
        if last is not None and now - last.until < LONGEST_SECONDS:
            seconds = min(2 * last.seconds, LONGEST_SECONDS)
        self._bars[name] = _Bar(now + seconds, seconds)


def _raised(error: Exception) -> NoReturn:
    raise error
