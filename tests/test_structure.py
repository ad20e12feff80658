"""The house as the design draws it: which folders there are, and which way imports run."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MAY_IMPORT = {
    "proto": set(),
    "data": {"proto"},
    "candidates": {"data", "proto"},
    "ranker": {"data", "proto"},
    "gateway": {"data", "candidates", "ranker", "proto"},
}
MOST_LINES = 320
GENERATED = ROOT / "proto"


def modules(part: str) -> list[Path]:
    return sorted((ROOT / part).rglob("*.py"))


def imported_parts(module: Path) -> set[str]:
    """The parts of Tandem that a module imports, at its top or inside a function."""
    parts = set()
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Import):
            parts |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}:{node.lineno} imports relatively: expected the full name"
            parts.add((node.module or "").split(".")[0])
    return parts & {*MAY_IMPORT, "tandem"}


@pytest.mark.parametrize("part", MAY_IMPORT)
def test_imports_run_one_way(part):
    for module in modules(part):
        beyond = imported_parts(module) - MAY_IMPORT[part] - {part}
        assert not beyond, f"{module.relative_to(ROOT)} imports {beyond}; {part} may import {MAY_IMPORT[part]}"


def test_no_file_is_too_long_to_read():
    parts = [*MAY_IMPORT, "tests", "bench"]
    files = [ROOT / "tandem.py", *(file for part in parts for file in modules(part))]
    lines = {file: len(file.read_text().splitlines()) for file in files if not file.is_relative_to(GENERATED)}
    assert {file.relative_to(ROOT): n for file, n in lines.items() if n > MOST_LINES} == {}


def test_every_module_says_what_happens_in_it():
    files = [ROOT / "tandem.py", *(f for part in MAY_IMPORT for f in modules(part) if part != "proto")]
    silent = [file.relative_to(ROOT) for file in files if not ast.get_docstring(ast.parse(file.read_text()))]
    assert silent == []


def test_nothing_is_unpickled():
    """No pickle, no unsafe YAML, no torch.load that runs code, anywhere in the program."""
    forbidden = ("import pickle", "allow_pickle=True", "yaml.load(", "weights_only=False", "cloudpickle", "joblib")
    for part in MAY_IMPORT:
        for module in modules(part):
            text = module.read_text()
            assert [word for word in forbidden if word in text] == [], module.relative_to(ROOT)


def test_the_folders_are_the_designs():
    folders = {path.name for path in ROOT.iterdir() if path.is_dir() and not path.name.startswith((".", "__"))}
    expected = {"candidates", "ranker", "gateway", "data", "proto", "configs", "deploy", "bench", "docs", "tests"}
    local = {"workspace", "workspaces", "build", "dist"}
    assert {name for name in folders if not name.endswith(".egg-info")} - local == expected
