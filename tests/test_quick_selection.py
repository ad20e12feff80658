"""What `-m "not slow"` leaves out is what was measured to be slow."""

import os
import subprocess
import sys
from pathlib import Path

from tests.support.durations import read_durations

ROOT = Path(__file__).parents[1]
TESTS = """
import time
import pytest
@pytest.fixture(scope="module")
def costly():
    time.sleep(0.3)
def test_quick(): pass
def test_first_that_needs_the_costly_fixture(costly): pass
def test_second_that_needs_it(costly): pass
@pytest.mark.parametrize("seconds", [0, 0.3])
def test_long(seconds): time.sleep(seconds)
"""
CONFTEST = """
from pathlib import Path
from tests.support import durations
durations.FILE, durations.SLOW_SECONDS, durations.COSTLY_FIXTURE_SECONDS = Path("durations.json"), 0.2, 0.2
durations.Durations.__init__.__defaults__ = (durations.FILE,)
pytest_plugins = ["tests.support.durations"]
"""


def run(folder: Path, *options: str) -> str:
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", "-o", "markers=slow", *options]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True).stdout


def test_a_test_is_slow_by_its_slowest_case_and_by_the_shared_fixtures_it_needs(tmp_path: Path) -> None:
    (tmp_path / "test_some.py").write_text(TESTS)
    (tmp_path / "conftest.py").write_text(CONFTEST)
    assert "5 passed" in run(tmp_path, "--record-durations")
    slow = {"test_first_that_needs_the_costly_fixture", "test_second_that_needs_it", "test_long"}
    assert {name for name, seconds in read_durations(tmp_path / "durations.json").items() if seconds > 0.2} == slow
    assert "1 passed, 4 deselected" in run(tmp_path, "-m", "not slow")


def test_a_quick_test_that_took_far_longer_is_named(tmp_path: Path) -> None:
    (tmp_path / "test_some.py").write_text(TESTS)
    (tmp_path / "conftest.py").write_text(CONFTEST + "durations.FAR_LONGER = 1\n")
    assert "test_long: 0 s; mark it slow" in run(tmp_path)
