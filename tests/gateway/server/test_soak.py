"""A short form of bench/soak.py: every kind of trouble once, and every promise held against the log."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


@pytest.mark.slow
def test_a_gateway_in_trouble_stays_right_keeps_what_it_acknowledged_and_leaves_nothing_behind(tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    command = [
        sys.executable,
        str(ROOT / "bench" / "soak.py"),
        "--stand-in",
        "--minutes",
        "0.8",
        "--json",
        str(figures),
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(figures.read_text())["figures"]
    for phase in ("steady", "troubled"):
        assert found[phase]["wrong"] == 0 and not found[phase]["broken"] and found[phase]["acknowledged"] > 100
    assert len(found["troubled"]["trouble"]) >= 4, "how many kinds fit into the time depends on the machine"
