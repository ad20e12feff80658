"""What an answer is made by: stages, each with a name, a limit and a time, one after the other.

A stage is given an answer under way (`Progress`) and returns the next state; it changes nothing. So a watcher may take
a stage out that overruns its limit: the answer goes on from where it stood, and what the late stage returns counts for
nothing.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Generic, NamedTuple, Self, TypeVar


class State:
    """What is known of an answer under way. A stage leaves the state it is given as it is, and changes a copy.

    Attributes:
        display_id: of the log's record of the answer; "" if none was written.
    """

    display_id: str = ""

    def copied(self) -> Self:
        """A shallow copy, at a fifth of the price of `dataclasses.replace`: every stage makes one."""
        new = object.__new__(type(self))
        new.__dict__.update(self.__dict__)
        return new


StateT = TypeVar("StateT", bound=State)


class LeftOut(Exception):
    """A stage has nothing usable to give; the sentence stands in the degraded mark."""


class Stage(ABC, Generic[StateT]):
    """One step of an answer.

    Attributes:
        name: in the stage times and in degraded marks.
        limit: seconds it may take; None: it is always waited for.
        optional: an answer goes on without it, marked, if it fails.
        bounded: some hundred microseconds of arithmetic whatever is asked (candidates/proposals.py).
        together: what this stage shares with others, such as the log: answers whose next stages share it may take them
            in one step (`run_all`). None: it is taken by one answer at a time.
    """

    name: str
    limit: float | None = None
    optional: bool = True
    bounded: bool = False
    together: object | None = None

    @abstractmethod
    def run(self, progress: "Progress[StateT]") -> StateT:
        """The next state. Raises LeftOut, or any other exception, if it has none to give."""

    def run_all(self, answers: "Sequence[Progress[StateT]]") -> "list[StateT | Exception]":
        """The next state of each answer, or what `run` would raise. Each answer's next stage shares `together`."""
        return [_outcome(one) for one in answers]


class Progress(NamedTuple, Generic[StateT]):
    """An answer under way: what is known, which stages are to come, what was left out and what took how long.

    A named tuple, as `Slot` is: made many times per answer, it costs half of a frozen dataclass.

    Attributes:
        left_out: stage and reason, such as ("led", "late").
        laps: stage and microseconds, in order; a stage may have several. They add up to the time since the start.
        since_us: when the present lap began.
    """

    state: StateT
    stages: tuple[Stage[StateT], ...]
    since_us: int
    left_out: tuple[tuple[str, str], ...] = ()
    laps: tuple[tuple[str, int], ...] = ()

    @property
    def next(self) -> Stage[StateT] | None:
        """The stage to run next; None at the end."""
        return self.stages[0] if self.stages else None

    @property
    def degraded(self) -> tuple[str, ...]:
        """What was left out, in words: "led: late"."""
        return tuple(f"{name}: {reason}" for name, reason in self.left_out)

    @property
    def stage_us(self) -> dict[str, int]:
        """Microseconds per stage, in order."""
        found: dict[str, int] = {}
        for name, us in self.laps:
            found[name] = found.get(name, 0) + us
        return found

    def lap(self, name: str) -> "Progress[StateT]":
        """The time since the last lap, counted as `name`'s."""
        now = clock_us()
        return Progress(self.state, self.stages, now, self.left_out, (*self.laps, (name, now - self.since_us)))

    def advanced(self) -> "Progress[StateT]":
        """The next stage run; left out if it failed and the answer can do without it."""
        return self.given(_outcome(self))

    def given(self, outcome: "StateT | Exception") -> "Progress[StateT]":
        """The next stage run, with this outcome. Raises it if the answer cannot do without."""
        stage = self.stages[0]
        if isinstance(outcome, Exception):
            if not stage.optional:
                raise outcome
            return self.without_next(str(outcome) if isinstance(outcome, LeftOut) else type(outcome).__name__)
        now = clock_us()
        return Progress(outcome, self.stages[1:], now, self.left_out, (*self.laps, (stage.name, now - self.since_us)))

    def without_next(self, reason: str) -> "Progress[StateT]":
        """The next stage left out."""
        name = self.stages[0].name
        return self._replace(stages=self.stages[1:], left_out=(*self.left_out, (name, reason))).lap(name)


def _outcome(answer: Progress[StateT]) -> "StateT | Exception":
    try:
        return answer.stages[0].run(answer)
    except Exception as error:
        return error


def start(state: StateT, stages: tuple[Stage[StateT], ...], since_us: int | None = None) -> Progress[StateT]:
    """An answer that has all its stages to come; `since_us` (`clock_us`): when its time began."""
    return Progress(state, stages, clock_us() if since_us is None else since_us)


def run(progress: Progress[StateT]) -> Progress[StateT]:
    """Every stage, one after the other, without looking at a limit."""
    while progress.stages:
        progress = progress.advanced()
    return progress


def clock_us() -> int:
    """A steady clock's microseconds."""
    return time.perf_counter_ns() // 1000
