"""The house as the design draws it: which folders there are, which way imports run, how long a file may be."""

import ast
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
PARTS = ["tandem", "gateway", "pipeline", "candidates", "ranker", "data"]
MOST_LINES = 300
MOST_LINES_OF_A_CLASS = 150


def modules(*folders: str) -> list[Path]:
    return [module for folder in folders for module in sorted((ROOT / folder).rglob("*.py"))]


def name_of(module: Path) -> str:
    return module.relative_to(ROOT).as_posix()


def test_imports_run_one_way_and_in_no_circle() -> None:
    """The contracts of .importlinter, for imports at the top of a module and inside its functions.

    In a process of its own: import-linter configures logging anew, which disables the loggers of other tests.
    """
    command = Path(sys.executable).with_name("lint-imports")
    found = subprocess.run([command, "--no-cache", "--no-logo"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout + found.stderr


def test_no_file_is_too_long_to_read() -> None:
    lines = {name_of(file): len(file.read_text().splitlines()) for file in modules(*PARTS, "tests", "bench")}
    assert {name: n for name, n in lines.items() if n > MOST_LINES} == {}


def test_no_class_is_too_long_to_read() -> None:
    long = {}
    for module in modules(*PARTS, "tests", "bench"):
        for node in ast.walk(ast.parse(module.read_text())):
            if isinstance(node, ast.ClassDef):
                lines = (node.end_lineno or 0) - node.lineno + 1
                long |= {f"{name_of(module)}: {node.name}": lines} if lines > MOST_LINES_OF_A_CLASS else {}
    assert long == {}


def test_every_module_says_what_happens_in_it() -> None:
    silent = [name_of(file) for file in modules(*PARTS, "bench") if not ast.get_docstring(ast.parse(file.read_text()))]
    assert silent == []


def test_nothing_is_unpickled() -> None:
    """No pickle, no unsafe YAML, no torch.load that runs code, anywhere in the program."""
    forbidden = ("import pickle", "allow_pickle=True", "yaml.load(", "weights_only=False", "cloudpickle", "joblib")
    for module in modules(*PARTS, "proto"):
        text = module.read_text()
        assert [word for word in forbidden if word in text] == [], name_of(module)


def test_what_tests_share_lies_in_tests_support() -> None:
    """No test imports another test, and none bends the search path."""
    bent = [one for one in modules("tests") if "sys.path" + ".insert" in one.read_text()]
    test_of_another = re.compile(r"^\s*(from|import) (tests\.(\w+\.)*)?test_\w+", re.M)
    importing = [one for one in modules("tests") if test_of_another.search(one.read_text())]
    assert [name_of(one) for one in [*bent, *importing]] == []


def test_the_folders_are_the_designs() -> None:
    folders = {path.name for path in ROOT.iterdir() if path.is_dir() and not path.name.startswith((".", "__"))}
    expected = {*PARTS, "proto", "configs", "deploy", "bench", "docs", "tests"}
    local = {"workspace", "workspaces", "build", "dist"}
    assert {name for name in folders if not name.endswith(".egg-info")} - local == expected
