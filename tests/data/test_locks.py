"""One process at a time; a lock ends with its process, however that ends."""

import errno
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from data.errors import TandemError
from data.locks import lock_if_free, locked


class _Error(TandemError):
    pass


_HOLD = """
import sys, time
from pathlib import Path
from data.locks import locked
with locked(Path(sys.argv[1]), "held"):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_second_process_is_told_who_holds_it_until_that_one_ends(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "lock{x}"
    if kind == "folder":
        path.mkdir()
    with subprocess.Popen([sys.executable, "-c", _HOLD, str(path)], stdout=subprocess.PIPE) as other:
        assert other.stdout is not None and other.stdout.readline() == b"held\n"
        who = f"process {other.pid}" if kind == "file" else "another process"
        refused = pytest.raises(_Error, match=rf"^{who} is at work in .*lock\{{x\}}$")
        with refused, locked(path, f"{{holder}} is at work in {path}", error=_Error):
            pass
        assert lock_if_free(path) is None
        other.kill()
    with locked(path, "held", error=_Error):
        assert kind == "folder" or path.read_text() == f"{os.getpid()}\n"


def test_one_may_wait(tmp_path: Path) -> None:
    began = time.monotonic()
    with locked(tmp_path, "held"):
        refused = pytest.raises(_Error, match="still held")
        with refused, locked(tmp_path, "still held", error=_Error, patience_seconds=0.2):
            pass
    assert time.monotonic() - began >= 0.2


def test_a_full_disk_does_not_keep_a_lock_from_being_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    with locked(tmp_path / "lock", "held"):
        assert lock_if_free(tmp_path / "lock") is None


def test_a_free_lock_is_taken_and_let_go(tmp_path: Path) -> None:
    descriptor = lock_if_free(tmp_path)
    assert descriptor is not None and lock_if_free(tmp_path) is None
    os.close(descriptor)
    descriptor = lock_if_free(tmp_path)
    assert descriptor is not None
    os.close(descriptor)
    assert lock_if_free(tmp_path / "nowhere") is None


def test_a_place_for_no_lock_is_told(tmp_path: Path) -> None:
    refused = pytest.raises(_Error, match="expected a place where a lock can be made")
    with refused, locked(tmp_path / "no" / "lock", "held", error=_Error):
        pass
