"""Worker processes: answers come in order, failures are sentences, nobody outlives the command."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path

import psutil
import pytest

from data.errors import DataError
from data.processes import WorkerDied, in_own_processes, pool

_BASE = 0


def _prepare(base: int) -> None:
    global _BASE
    _BASE = base


def _work(task: int) -> int:
    if task == -1:
        os.kill(os.getpid(), signal.SIGKILL)
    if task < -1:
        raise DataError(f"task {task}")
    time.sleep(0.05 * (task % 3))
    return task * 10 + _BASE


def _own(task: int, advance: Callable[[int], None]) -> int:
    advance(70)
    return _work(task)


def test_a_pool_answers_in_order_or_as_done() -> None:
    with pool(2, prepare=_prepare, prepared_with=(1,)) as workers:
        assert list(workers.in_order(_work, range(5))) == [(k, k * 10 + 1) for k in range(5)]
        assert sorted(workers.as_done(_work, range(5))) == [(k, k * 10 + 1) for k in range(5)]
        future: Future[int] = workers.submit(_work, 7)
        assert future.result() == 71
        with pytest.raises(DataError, match="task -3"):
            list(workers.in_order(_work, [1, -3, -2]))
        with pytest.raises(WorkerDied, match="perhaps for want of memory; buy some"), pool(1, advice="buy some") as own:
            list(own.in_order(_work, [1, -1]))


def test_a_task_of_its_own_process_fails_alone() -> None:
    told: list[int] = []
    begun: list[int] = []
    found = {one.task: one for one in in_own_processes(_own, [3, -1, -2, 1], 2, told.append, begun.append)}
    assert found[3].answer == 30 and found[1].answer == 10
    assert found[-2].failure == "task -2"
    assert found[-1].failure is not None and "ended by signal 9" in found[-1].failure
    assert sum(told) >= 3 * 70 and begun == [3, -1, -2, 1]


_KILLED = """
import time
from pathlib import Path
from data.processes import in_own_processes, pool

def work(task, advance=None):
    (Path(task) / "begun").touch()
    time.sleep(60)

if __name__ == "__main__":
    import sys
    if sys.argv[1] == "pool":
        with pool(1) as workers:
            list(workers.in_order(work, [sys.argv[2]]))
    else:
        list(in_own_processes(work, [sys.argv[2]], 1))
"""


@pytest.mark.parametrize("kind", ["pool", "own"])
def test_workers_end_with_a_killed_parent(tmp_path: Path, kind: str) -> None:
    (tmp_path / "killed.py").write_text(_KILLED)
    with subprocess.Popen([sys.executable, str(tmp_path / "killed.py"), kind, str(tmp_path)]) as parent:
        deadline = time.monotonic() + 60
        while not (tmp_path / "begun").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        children = psutil.Process(parent.pid).children(recursive=True)
        assert children
        parent.kill()
    _, alive = psutil.wait_procs(children, timeout=20)
    assert not alive
