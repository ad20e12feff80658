"""The process beside the workers: started, started again, stopped, and never left behind."""

import sys
import time
from pathlib import Path

import psutil

from gateway.server import companion
from gateway.server.companion import Companion


def _until(holds, seconds=10.0):
    ends = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < ends
        time.sleep(0.02)


def _children(words: str) -> list[psutil.Process]:
    found = []
    for one in psutil.Process().children():
        if one.status() != psutil.STATUS_ZOMBIE and words in " ".join(one.cmdline()):
            found.append(one)
    return found


def test_it_runs_until_it_is_stopped_and_again_when_it_ended(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(companion, "_FIRST_BACK_OFF", 0.1)
    note = str(tmp_path)
    one = Companion("a sleeper", [sys.executable, "-c", f"import time; time.sleep(60)  # {note}"])
    one.look()
    one.look()
    _until(lambda: len(_children(note)) == 1)
    (first,) = _children(note)
    first.kill()
    _until(lambda: (one.look(), [child.pid for child in _children(note)] not in ([], [first.pid]))[1])
    one.stop()
    assert _children(note) == []
    one.stop()


def test_it_does_not_outlive_a_killed_gateway(tmp_path: Path) -> None:
    note = str(tmp_path)
    command = [sys.executable, "-c", f"import time; time.sleep(60)  # {note}"]
    imports = "import time; from gateway.server.companion import Companion"
    script = f"{imports}; Companion('x', {command!r}).look(); time.sleep(60)"
    parent = psutil.Popen([sys.executable, "-c", script])
    _until(lambda: len(parent.children()) == 1 and note in " ".join(parent.children()[0].cmdline()))
    (child,) = parent.children()
    parent.kill()
    parent.wait()
    _until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE)
