"""Run independent tasks, keep what is finished, and go on where a killed run stopped.

A finished task is one file, rows/<key>.json, in the output folder; its key is a digest of all that its result depends
on, so that changed settings, data or code make a new row. A task that was killed goes on from
checkpoints/<key>.safetensors.
"""

import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from candidates.errors import CandidatesError
from candidates.models.epochs import interrupted_since
from data.console import progress_bar
from data.errors import TandemError
from data.files import write_text_atomically
from data.processes import Outcome, in_own_processes
from data.settings import read_json

IN_THIS_PROCESS = 0
"""Instead of a number of processes: one task after the other, here, with all cores."""


class Task(Protocol):
    """Something to run once. It travels to another process, so it is a plain value."""

    @property
    def title(self) -> str: ...

    @property
    def weight(self) -> float:
        """How long it takes beside others; the longest begin first."""
        ...

    def key(self) -> str: ...

    def run(self, checkpoint: Path) -> dict[str, Any]:
        """The row, of what JSON can hold. `checkpoint`: where it may keep a checkpoint."""
        ...


def run_tasks(
    what: str,
    tasks: Sequence[Task],
    folder: Path,
    processes: int,
    finished: Callable[[Task, dict[str, Any]], None] = lambda task, row: None,
) -> list[dict[str, Any]]:
    """The tasks' rows in their order; those already in the folder are not run again.

    Args:
        what: names the progress bar.
        processes: how many tasks run at a time, each in a process of one thread; or IN_THIS_PROCESS.
        finished: told of each row as it is there, those of earlier runs first.

    Raises:
        CandidatesError: a task failed (the others are finished first), or a row is not readable.
    """
    rows = folder / "rows"
    jobs = {key: _Job(key, task, folder) for key, task in ((task.key(), task) for task in tasks)}
    done = {key: read_row(rows / f"{key}.json") for key in jobs if (rows / f"{key}.json").exists()}
    for key, row in done.items():
        finished(jobs[key].task, row)
    missing = [job for key, job in jobs.items() if key not in done]
    failures: list[str] = []
    with progress_bar(what, len(jobs), shown=processes != IN_THIS_PROCESS) as bar:
        bar.advance(len(done))
        for outcome in _outcomes(missing, processes, lambda note: bar.advance(0, note=note)):
            job = outcome.task
            if outcome.answer is None:
                failures.append(f"{job.task.title}: {outcome.failure}")
            else:
                done[job.key] = outcome.answer
                finished(job.task, outcome.answer)
            bar.advance()
    if failures:
        raise CandidatesError("; ".join(failures))
    return [done[task.key()] for task in tasks]


def read_row(path: Path) -> dict[str, Any]:
    """Raises CandidatesError if the file holds no row."""
    expected = "a finished row (remove the file to run it again)"
    return read_json(path, dict[str, Any], expected=expected, error=CandidatesError)


@dataclass(frozen=True)
class _Job:
    key: str
    task: Task
    folder: Path

    def run(self) -> dict[str, Any]:
        """The task's row, kept before it is told, and its checkpoint removed.

        Raises:
            KeyboardInterrupt: one ended a training early; such a row would stand for the whole one for ever.
        """
        checkpoint, started = self.folder / "checkpoints" / f"{self.key}.safetensors", time.monotonic()
        row = self.task.run(checkpoint) | {"title": self.task.title}
        if interrupted_since(started):
            raise KeyboardInterrupt
        write_text_atomically(self.folder / "rows" / f"{self.key}.json", json.dumps(row) + "\n", CandidatesError)
        checkpoint.unlink(missing_ok=True)
        return row


def _outcomes(
    jobs: Sequence[_Job], processes: int, note: Callable[[str], None]
) -> Iterator[Outcome[_Job, dict[str, Any]]]:
    if processes == IN_THIS_PROCESS:
        for job in jobs:
            try:
                yield Outcome(job, job.run())
            except TandemError as error:
                yield Outcome(job, failure=str(error))
        return
    running: list[str] = []

    def begun(job: _Job) -> None:
        running.append(job.task.title)
        note(", ".join(running))

    longest_first = sorted(jobs, key=lambda job: -job.task.weight)
    for outcome in in_own_processes(_in_one_thread, longest_first, processes, begun=begun):
        running.remove(outcome.task.task.title)
        yield outcome


def _in_one_thread(job: _Job, advance: Callable[[int], None]) -> dict[str, Any]:
    """In the task's own process. Torch, which takes seconds to import, reads the variable if the task imports it."""
    from threadpoolctl import threadpool_limits

    os.environ["OMP_NUM_THREADS"] = "1"
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
    with threadpool_limits(1):
        return job.run()
