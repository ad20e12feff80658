"""One lock per workspace: real processes that read, change and write lose nothing of each other."""

import subprocess
import sys
from pathlib import Path

import pytest

from data.errors import DataError
from data.tables import load_catalog, load_events, store
from data.workspace import Origin, Workspace, writing
from tests.support.processes import environment
from tests.support.rows import items_of, views_of

APPENDS = """
import sys
from pathlib import Path
from data.tables import append
from data.workspace import Workspace
from tests.support.rows import items_of, views_of
place = Workspace(sys.argv[1])
for name in sys.argv[2:]:
    append(place, views_of((name, 5, name)), items_of(name))
"""
HOLDS = """
import sys, time
from data.workspace import Workspace, writing
with writing(Workspace(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_rows_that_two_processes_append_at_once_are_all_there(tmp_path: Path) -> None:

    place = Workspace(tmp_path / "w")
    store(place, views_of(("first", 1, "first")), items_of("first"), Origin("made up", True, "0", 1, 1))
    names = [[f"{who}{number}" for number in range(20)] for who in "ab"]
    command = [sys.executable, "-c", APPENDS, str(place.root)]
    running = [subprocess.Popen([*command, *own], env=environment()) for own in names]
    assert [one.wait(120) for one in running] == [0, 0]
    every = sorted(["first", *names[0], *names[1]])
    assert sorted(load_catalog(place)["item_id"].to_pylist()) == every
    assert sorted(load_events(place)["event_id"].to_pylist()) == every
    assert (place.origin().items, place.origin().events) == (41, 41)


def test_a_workspace_that_is_being_written_says_by_whom_and_is_free_when_they_end(tmp_path: Path) -> None:
    place = Workspace(tmp_path)
    held = [sys.executable, "-c", HOLDS, str(tmp_path)]
    other = subprocess.Popen(held, env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert other.stdin is not None and other.stdout is not None and other.stdout.readline() == "held\n"
    with pytest.raises(DataError, match=f"process {other.pid} is writing in {tmp_path}"), writing(place, 0.0):
        pass
    other.kill()
    other.wait(10)
    with writing(place, 5.0), writing(place, 0.0):
        assert (tmp_path / ".writing").exists()
