"""Worker processes: answers come back in order, few tasks are under way at a time, no process outlives the command."""

import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any, TypeVar

from data.errors import DataError

Task = TypeVar("Task")
Answer = TypeVar("Answer")


@contextmanager
def workers(count: int) -> Iterator["Pool"]:
    """A pool of `count` processes. On the way out it waits for the tasks under way and drops those not begun."""
    context = multiprocessing.get_context("forkserver")  # shares the pages of what it preloads
    context.set_forkserver_preload(["__main__", "data.criteo.work"])
    executor = ProcessPoolExecutor(count, mp_context=context, initializer=_start_worker)
    try:
        yield Pool(executor, count)
    finally:
        executor.shutdown(wait=True, cancel_futures=True)


class WorkerDied(DataError):
    """A worker ended without an answer. What the others did is on disk."""


class Pool:
    def __init__(self, executor: ProcessPoolExecutor, count: int) -> None:
        self._executor, self._ahead = executor, count + 2

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
                except DataError as error:
                    failed = error
                    break
                running.append((task, self._executor.submit(function, task)))
            if not running:
                break
            task, future = running.popleft()
            yield task, _answer_of(future)
        if failed is not None:
            raise failed


def _answer_of(future: "Future[Answer]") -> Answer:
    try:
        return future.result()
    except BrokenProcessPool:
        raise WorkerDied(
            "a worker process died, perhaps for want of memory; repeat the command to go on, with fewer --workers if "
            "it dies again"
        ) from None


def end_with_parent() -> None:
    """End this worker when its parent ends, even by kill -9: it would wait for tasks for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()


def _start_worker() -> None:
    """Leave Ctrl-C to the parent, and end with it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent()


def _end_with(sentinel: int) -> None:
    multiprocessing.connection.wait([sentinel])
    os._exit(1)
