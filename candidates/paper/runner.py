"""Run independent tasks in processes of one thread each, keep what is finished, and go on where a killed run stopped.

A finished task is one file, rows/<key>.json, in the output folder; its key is a digest of all that its result depends
on, so that changed settings or data make a new row. A task that was killed goes on from checkpoints/<key>.safetensors.
"""

import json
import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Sequence
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Protocol

from candidates.errors import CandidatesError
from data.console import progress_bar
from data.errors import TandemError
from data.workspace import write_text_atomically


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


def run_tasks(what: str, tasks: Sequence[Task], folder: Path, processes: int) -> list[dict[str, Any]]:
    """The tasks' rows in their order; those already in the folder are not run again.

    Args:
        what: names the progress bar.
        processes: how many tasks run at a time, each with one thread.

    Raises:
        CandidatesError: a task failed (the others are finished first), or a row is not readable.
    """
    rows = folder / "rows"
    rows.mkdir(parents=True, exist_ok=True)
    keys = [task.key() for task in tasks]
    missing = {key: task for key, task in zip(keys, tasks, strict=True) if not (rows / f"{key}.json").exists()}
    waiting = sorted(missing, key=lambda key: -missing[key].weight)
    running: dict[Any, tuple[BaseProcess, str]] = {}
    failures: list[str] = []
    with progress_bar(what, len(tasks)) as bar:
        bar.advance(len(tasks) - len(missing))
        try:
            while waiting or running:
                while waiting and len(running) < max(1, processes):
                    key = waiting.pop(0)
                    process = _started(missing[key], key, folder)
                    running[process.sentinel] = (process, key)
                bar.advance(0, note=", ".join(missing[key].title for _, key in running.values()))
                for sentinel in wait(list(running)):
                    process, key = running.pop(sentinel)
                    process.join()
                    failures += _failure(missing[key], rows / f"{key}.failed", process.exitcode)
                    bar.advance()
        finally:  # interrupted: finished rows and checkpoints stay
            for process, _ in running.values():
                process.terminate()
                process.join()
    if failures:
        raise CandidatesError("; ".join(failures))
    return [read_row(rows / f"{key}.json") for key in keys]


def read_row(path: Path) -> dict[str, Any]:
    """Raises CandidatesError if the file holds no row."""
    try:
        row = json.loads(path.read_text())
        if not isinstance(row, dict):
            raise ValueError(f"a {type(row).__name__}")
        return row
    except (OSError, ValueError) as error:
        raise CandidatesError(
            f"{path}: expected a finished row, found {error}; remove the file to run it again"
        ) from None


def _started(task: Task, key: str, folder: Path) -> BaseProcess:
    arguments = (task, key, folder, os.getpid())
    process = multiprocessing.get_context("spawn").Process(target=_work, args=arguments, daemon=True)
    process.start()
    return process


def _failure(task: Task, note: Path, code: int | None) -> list[str]:
    """The sentence a failed task left, or why it left none."""
    if code == 0:
        return []
    if note.exists():
        text = note.read_text()
        note.unlink()
        return [f"{task.title}: {text}"]
    why = f"was ended by signal {-code}" if code is not None and code < 0 else f"ended with code {code}"
    return [f"{task.title}: its process {why}; expected it to finish (is there enough memory?)"]


def _work(task: Task, key: str, folder: Path, parent: int) -> None:
    """In the task's own process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer; a half-trained row is none
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    checkpoint = folder / "checkpoints" / f"{key}.safetensors"
    try:
        import torch
        from threadpoolctl import threadpool_limits

        torch.set_num_threads(1)
        with threadpool_limits(1):
            row = task.run(checkpoint)
        write_text_atomically(folder / "rows" / f"{key}.json", json.dumps(row | {"title": task.title}) + "\n")
        checkpoint.unlink(missing_ok=True)
    except TandemError as error:
        write_text_atomically(folder / "rows" / f"{key}.failed", str(error))
        sys.exit(2)
    except Exception:
        write_text_atomically(folder / "rows" / f"{key}.failed", traceback.format_exc())
        sys.exit(1)


def _end_with(parent: int) -> None:
    """A run killed outright takes its tasks with it."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)
