"""What is installed is what the project's folders hold, and the console script starts."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PARTS = ("tandem", "gateway", "pipeline", "candidates", "ranker", "data", "proto")


def test_a_wheel_holds_every_file_of_the_parts_and_no_test(tmp_path: Path) -> None:
    pytest.importorskip("setuptools")
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *PARTS]
    found = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True).stdout.split()
    files = [name for name in found if (ROOT / name).exists() and not name.startswith("gateway/client/pyproject")]
    if not files:
        pytest.skip("not a checkout: nobody can tell the project's files from others")
    for name in [*files, "pyproject.toml", "README.md"]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    build = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", "wheels", "."]
    done = subprocess.run(build, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(next((tmp_path / "wheels").iterdir())) as wheel:
        held = [name for name in wheel.namelist() if ".dist-info/" not in name]
        scripts = next(name for name in wheel.namelist() if name.endswith("entry_points.txt"))
        assert "tandem = tandem.cli:main" in wheel.read(scripts).decode()
    assert sorted(held) == sorted(files)
