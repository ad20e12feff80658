"""Worker processes: none outlives the command, their failures become sentences.

`pool` runs many short tasks in a few processes; `in_own_processes` runs each task in a process of its own, so that one
that is killed fails alone.
"""

import multiprocessing
import multiprocessing.connection
import os
import signal
import sys
import threading
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any, Generic, Literal, TypeVar

from data.errors import DataError, TandemError

Task = TypeVar("Task")
Answer = TypeVar("Answer")


class WorkerDied(DataError):
    """A worker ended without an answer, as the kernel ends one for want of memory. What the others did stays."""


def end_with_parent() -> None:
    """End this multiprocessing child when its parent ends, even by kill -9: it would wait for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True, name="parent-watch").start()


def _end_with(sentinel: int) -> None:
    multiprocessing.connection.wait([sentinel])
    os._exit(1)


def leave_interrupts_to_parent() -> None:
    """Ctrl-C reaches every process of a terminal; the parent answers it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@contextmanager
def pool(
    count: int,
    *,
    method: Literal["spawn", "forkserver"] = "spawn",
    preload: Sequence[str] = (),
    prepare: Callable[..., None] | None = None,
    prepared_with: tuple[Any, ...] = (),
    advice: str = "repeat the command with fewer --processes",
) -> Iterator["Pool"]:
    """A pool of `count` processes. On the way out it waits for the tasks under way and drops those not begun.

    Args:
        method: "forkserver" shares the pages of the modules that it preloads.
        prepare: called in each process, with `prepared_with`, before its first task.
        advice: the end of the sentence if a worker dies.
    """
    context = multiprocessing.get_context(method)
    if preload:
        context.set_forkserver_preload(["__main__", *preload])
    executor = ProcessPoolExecutor(
        count, mp_context=context, initializer=_start_worker, initargs=(prepare, prepared_with)
    )
    try:
        yield Pool(executor, count, advice)
    finally:
        executor.shutdown(wait=True, cancel_futures=True)


def _start_worker(prepare: Callable[..., None] | None, prepared_with: tuple[Any, ...]) -> None:
    leave_interrupts_to_parent()
    end_with_parent()
    if prepare is not None:
        prepare(*prepared_with)


class Pool:
    def __init__(self, executor: ProcessPoolExecutor, count: int, advice: str) -> None:
        self._executor, self._ahead, self._advice = executor, count + 2, advice

    def submit(self, function: Callable[..., Answer], *arguments: Any) -> "Future[Answer]":
        return self._executor.submit(function, *arguments)

    def in_order(self, function: Callable[[Task], Answer], tasks: Iterable[Task]) -> Iterator[tuple[Task, Answer]]:
        """Each task with its answer, in the order of `tasks`, which is read only a few tasks ahead.

        An error of the earliest task comes first, whichever worker was faster, and before one of reading on in `tasks`.
        """
        running: deque[tuple[Task, Future[Answer]]] = deque()
        upcoming = iter(tasks)
        failed: Exception | None = None
        while True:
            while failed is None and len(running) < self._ahead:
                try:
                    task = next(upcoming)
                except StopIteration:
                    break
                except TandemError as error:
                    failed = error
                    break
                running.append((task, self._executor.submit(function, task)))
            if not running:
                break
            task, future = running.popleft()
            yield task, self._answer_of(future)
        if failed is not None:
            raise failed

    def as_done(self, function: Callable[[Task], Answer], tasks: Iterable[Task]) -> Iterator[tuple[Task, Answer]]:
        """Each task with its answer, the fastest first."""
        futures = {self._executor.submit(function, task): task for task in tasks}
        for future in as_completed(futures):
            yield futures[future], self._answer_of(future)

    def _answer_of(self, future: "Future[Answer]") -> Answer:
        try:
            return future.result()
        except BrokenProcessPool:
            raise WorkerDied(f"a worker process died, perhaps for want of memory; {self._advice}") from None


@dataclass(frozen=True)
class Outcome(Generic[Task, Answer]):
    """What became of a task: its answer, or why there is none (`failure`, a sentence or a traceback).

    `place`: the task's position among the tasks.
    """

    task: Task
    answer: Answer | None = None
    failure: str | None = None
    place: int = -1


def in_own_processes(
    work: Callable[[Task, Callable[[int], None]], Answer],
    tasks: Sequence[Task],
    processes: int,
    advance: Callable[[int], None] = lambda by: None,
    begun: Callable[[Task], None] = lambda task: None,
) -> Iterator[Outcome[Task, Answer]]:
    """Run `work(task, advance)` for every task in a fresh process each, `processes` at a time; the fastest first.

    Left early (an error, Ctrl-C), it ends the processes that still run.

    Args:
        work: a function of a module; what it tells its `advance` reaches ours, here.
        begun: told of every task as its process starts.
    """
    waiting, running = deque(enumerate(tasks)), dict[Connection, tuple[int, Task, BaseProcess]]()
    try:
        while waiting or running:
            while waiting and len(running) < max(1, processes):
                place, task = waiting.popleft()
                end, process = _started(work, task)
                running[end] = (place, task, process)
                begun(task)
            for told in multiprocessing.connection.wait(list(running)):
                assert isinstance(told, Connection)
                try:
                    kind, value = told.recv()
                except EOFError:
                    kind, value = "died", None
                if kind == "advance":
                    advance(value)
                    continue
                place, task, process = running.pop(told)
                process.join()
                told.close()
                yield _outcome(task, kind, value, process.exitcode, place)
    finally:
        for _, _, process in running.values():
            process.terminate()
            process.join()


def _started(work: Callable[..., Any], task: Any) -> tuple[Connection, BaseProcess]:
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=_in_own_process, args=(work, task, there), daemon=True)
    process.start()
    there.close()  # so that the end of the child's closes the pipe
    return here, process


def _outcome(task: Task, kind: str, value: Any, code: int | None, place: int) -> Outcome[Task, Any]:
    if kind == "answer":
        return Outcome(task, answer=value, place=place)
    if kind == "failed":
        return Outcome(task, failure=value, place=place)
    why = f"was ended by signal {-code}" if code is not None and code < 0 else f"died with exit code {code}"
    return Outcome(task, failure=f"its process {why}; expected it to finish (is there enough memory?)", place=place)


_TELL_EVERY = 50


def _in_own_process(work: Callable[..., Any], task: Any, parent: Connection) -> None:
    leave_interrupts_to_parent()
    end_with_parent()
    untold = 0

    def advance(by: int) -> None:
        nonlocal untold
        untold += by
        if untold >= _TELL_EVERY:
            parent.send(("advance", untold))
            untold = 0

    try:
        answer = work(task, advance)
    except TandemError as error:
        parent.send(("failed", str(error)))
        sys.exit(2)
    except Exception:
        parent.send(("failed", traceback.format_exc()))
        sys.exit(1)
    parent.send(("advance", untold))
    parent.send(("answer", answer))
