"""A conversion killed, resumed, met by another one, and with workers that die."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from data.criteo.convert import convert
from data.criteo.dataset import CriteoDataset
from data.criteo.made_up import write_made_up
from data.criteo.manifest import Options
from data.errors import DataError
from tests.support.folders import contents

SMALL = 1 << 14

SCRIPT = """
import sys
from pathlib import Path
from data.criteo.convert import convert
from data.criteo.manifest import Options
if __name__ == "__main__":
    convert([Path(sys.argv[1])], Path(sys.argv[2]), Options(at_least=2), 2, block_bytes=1 << 16)
"""


def running(process: subprocess.Popen) -> list[int]:
    """The processes of a session."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and os.getsid(int(entry.name)) == process.pid:
                found.append(int(entry.name))
        except (ProcessLookupError, PermissionError):
            pass
    return found


@pytest.mark.slow
def test_killed_at_every_stage_and_resumed_the_bytes_are_the_same(tmp_path):
    source = tmp_path / "train.txt"
    write_made_up(source, 20_000, seed=5)
    convert([source], tmp_path / "whole", Options(at_least=2), 2, block_bytes=1 << 16)
    script, output = tmp_path / "run.py", tmp_path / "out"
    script.write_text(SCRIPT)
    unfinished = tmp_path / "out.unfinished"
    stages = ("spool/0000-0000010.npy", "result/vocabulary/C3.ids.npy", "encoded/0000-0000010.npy")
    for stage in stages:
        process = subprocess.Popen(
            [sys.executable, str(script), str(source), str(output)],
            start_new_session=True,
            cwd=Path(__file__).parents[3],
        )
        deadline = time.monotonic() + 60
        while not (unfinished / stage).exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.002)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        assert not output.exists() and unfinished.exists(), f"killed too late to show anything about {stage}"
        while running(process) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert running(process) == []  # no worker outlives the command
    (unfinished / "result" / "vocabulary" / ".C1.ids.1.npy").write_bytes(b"half-written")
    convert([source], output, Options(at_least=2), 2, block_bytes=1 << 16)
    assert contents(output) == contents(tmp_path / "whole")
    assert not unfinished.exists()


def test_what_was_done_before_a_kill_is_not_done_again(made_up, tmp_path, monkeypatch):
    unfinished = tmp_path / "out.unfinished"
    with pytest.raises(KeyboardInterrupt):
        monkeypatch.setattr("data.criteo.convert._manifest", interrupted)
        convert([made_up], tmp_path / "out", Options(), 1, block_bytes=SMALL)
    monkeypatch.undo()
    assert not list(
        (unfinished / "spool").iterdir()
    )  # every block is encoded: nothing could be parsed or encoded again
    convert([made_up], tmp_path / "out", Options(), 1, block_bytes=SMALL)
    convert([made_up], tmp_path / "whole", Options(), 1, block_bytes=SMALL)
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def interrupted(*_):
    raise KeyboardInterrupt


def test_an_unfinished_conversion_with_other_options_is_not_mixed_in(made_up, tmp_path, monkeypatch):
    monkeypatch.setattr("data.criteo.convert._manifest", interrupted)
    with pytest.raises(KeyboardInterrupt):
        convert([made_up], tmp_path / "out", Options(at_least=5), 1)
    monkeypatch.undo()
    with pytest.raises(
        DataError, match="unfinished conversion of other files, or of changed ones, or with other options"
    ):
        convert([made_up], tmp_path / "out", Options(at_least=2), 1)
    convert([made_up], tmp_path / "out", Options(at_least=2), 1, restart=True)
    convert([made_up], tmp_path / "fresh", Options(at_least=2), 1)
    assert contents(tmp_path / "out") == contents(tmp_path / "fresh")


def test_two_conversions_into_one_folder_do_not_meet(made_up, tmp_path):
    import fcntl

    (tmp_path / "out.unfinished").mkdir()
    with (tmp_path / "out.unfinished" / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(DataError, match="another process is converting"):
            convert([made_up], tmp_path / "out", Options(), 1)


def test_a_worker_that_dies_is_reported_and_the_rest_can_go_on(made_up, tmp_path, monkeypatch):
    monkeypatch.setattr("data.criteo.work.count_feature", die)
    with pytest.raises(DataError, match="a worker process died"):
        convert([made_up], tmp_path / "out", Options(), 1)
    monkeypatch.undo()
    convert([made_up], tmp_path / "out", Options(), 1)
    assert CriteoDataset.open(tmp_path / "out", verify=True).manifest.splits["train"].rows == 1715
    assert multiprocessing.active_children() == []


def test_a_worker_that_dies_while_parsing_leaves_what_was_parsed(made_up, tmp_path, monkeypatch):
    monkeypatch.setattr("data.criteo.work.parse_to_spool", die)
    with pytest.raises(DataError, match="a worker process died"):
        convert([made_up], tmp_path / "out", Options(), 1)
    assert (tmp_path / "out.unfinished" / "plan.json").exists()


def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)
