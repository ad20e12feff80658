"""`import tandem`: light, and undisturbed by what lies in the working folder under the names of its packages."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def python(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run Python in a folder as a notebook does: the folder stands first on the search path."""
    command = [sys.executable, *(words if len(words) > 1 else ("-c", *words))]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


def test_importing_tandem_loads_no_library(tmp_path: Path) -> None:
    heavy = ("torch", "numpy", "pyarrow", "grpc", "pydantic", "typer")
    done = python(tmp_path, f"import sys, tandem; print([name for name in {heavy!r} if name in sys.modules])")
    assert done.stdout == "[]\n", done.stderr


def test_a_data_py_beside_the_notebook_does_not_hide_tandems(tmp_path: Path) -> None:
    (tmp_path / "data.py").write_text("mine = 1\n")
    done = python(tmp_path, "import tandem; print(tandem.Workspace('w').root)")
    assert done.stdout == "w\n", done.stderr
    assert "data.py has the name of a package of Tandem: `import data` now gives Tandem's" in done.stderr


def test_a_data_py_that_was_imported_first_works_beside_tandem(tmp_path: Path) -> None:
    (tmp_path / "data.py").write_text("mine = 1\n")
    done = python(tmp_path, "import data, tandem; print(tandem.Workspace('w').root, data.mine)")
    assert done.stdout == "w 1\n" and done.stderr == ""


@pytest.mark.parametrize("first", ["", "import data; "])
def test_processes_that_are_started_from_a_notebook_find_tandems_data_too(tmp_path: Path, first: str) -> None:
    (tmp_path / "data.py").write_text("mine = 1\n")
    start = "multiprocessing.get_context('spawn').Pool(1).apply(tandem.Workspace, ('w',)).root"
    done = python(tmp_path, f"{first}import multiprocessing, tandem; print({start})")
    assert done.stdout == "w\n", done.stderr


def test_a_folder_of_files_named_data_needs_nothing(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    for code in ("import tandem", "import data, tandem"):
        done = python(tmp_path, f"{code}; print(tandem.Workspace('w').root)")
        assert done.stdout == "w\n" and done.stderr == ""


def test_a_package_named_data_that_was_imported_first_is_named_in_the_error(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "__init__.py").touch()
    done = python(tmp_path, "import data, tandem")
    assert done.returncode == 1
    assert "was imported as 'data', the name of a package of Tandem; expected another name" in done.stderr


@pytest.mark.parametrize("words", [["-c", "from tandem.cli import main; main()"], ["-m", "tandem"]])
def test_the_command_line_is_undisturbed_too(tmp_path: Path, words: list[str]) -> None:
    (tmp_path / "data.py").write_text("raise SystemExit('mine')\n")
    done = python(tmp_path, *words, "--help")
    assert done.returncode == 0 and "gateway" in done.stdout, done.stderr
