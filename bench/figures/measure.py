"""Run the commands of the figures, the most important first, and write docs/figures/*.json."""

import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from bench.figures.catalogue import RESULTS, ROOT, Figure
from bench.figures.machine import machine, source_state

DATA = Path(os.environ.get("TANDEM_SHARED_DATA", ROOT.parent / "shared" / "data"))
WORK = ROOT / "build" / "figures"
PYTHON = {"tandem": [sys.executable, "-m", "tandem"], "python": [sys.executable]}
"""How the commands of figures.yaml are run, by their first word; others are run as they are."""


class FigureError(Exception):
    """A sentence about a figure that could not be measured or rendered."""


def measured(name: str) -> dict[str, Any]:
    """What docs/figures/<name>.json holds; {} if there is none."""
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text()) if path.exists() else {}


def is_fresh(name: str) -> bool:
    """Whether the file's figures are those of the source as it is now."""
    return measured(name).get("measured", {}).get("source") == source_state()["source"]


def missing_data(figure: Figure) -> list[str]:
    """The folders of real data that the figure needs and this machine lacks."""
    return [folder for folder in figure.data if not (DATA / folder).is_dir()]


def measure(name: str, catalogue: dict[str, Figure], done: set[str]) -> float:
    """Run one figure's commands and write its file; returns the seconds.

    Args:
        done: figures measured in this run: their workspaces are of the source as it is now.

    Raises:
        FigureError: a command failed, or data is missing.
    """
    figure = catalogue[name]
    if missing := missing_data(figure):
        raise FigureError(f"{name}: {', '.join(missing)} is not in {DATA} (set TANDEM_SHARED_DATA)")
    for before in figure.after:
        if before not in done and not (is_fresh(before) and (WORK / "work" / before).is_dir()):
            measure(before, catalogue, done)
    out = WORK / "out" / name
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    shutil.rmtree(WORK / "work" / name, ignore_errors=True)  # the workspaces of an earlier source
    (WORK / "work" / name).mkdir(parents=True)
    state, where, began = source_state(), machine(), time.time()
    for command in figure.commands:
        _run(name, command, out)
    seconds = time.time() - began
    record = {
        "figure": name,
        "measured": {
            **state,
            "date": time.strftime("%Y-%m-%d", time.gmtime(began)),
            "machine": where,
            "commands": [_shown(command) for command in figure.commands if command.split()[0] in PYTHON],
            "seconds": round(seconds),
        },
        "results": {path.stem: _figures(path, figure.leave_out) for path in sorted(out.glob("*.json"))},
    }
    RESULTS.mkdir(exist_ok=True)
    target = RESULTS / f"{name}.json"
    beside = target.with_suffix(".unfinished")
    beside.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n")
    beside.replace(target)
    done.add(name)
    return seconds


def _run(name: str, command: str, out: Path) -> None:
    """Run one command from the repository's root with this Python; its output goes to a log beside the results."""
    filled = command.format(data=DATA, work=WORK / "work", out=out)
    words = shlex.split(filled)
    log = out / "log"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_WAIT_POLICY": "PASSIVE"}
    with log.open("ab") as sink:
        ended = subprocess.run(
            [*PYTHON.get(words[0], [words[0]]), *words[1:]],
            cwd=ROOT,
            stdout=sink,
            stderr=subprocess.STDOUT,
            env=environment,
            check=False,
        )
    if ended.returncode:
        last = log.read_text(errors="replace").strip().splitlines()[-1:] or ["no output"]
        raise FigureError(f"{name}: `{filled}` ended with {ended.returncode}: {last[0]} (all of it: {log})")


def _shown(command: str) -> str:
    """The command as a reader would type it: without the places of this machine."""
    words = shlex.split(command.replace("{data}/", "").replace("{work}/", ""))
    for option in ("--json", "--output"):
        if option in words:
            at = words.index(option)
            del words[at : at + 2]
    return shlex.join(words).replace("'", "")


def _figures(path: Path, leave_out: tuple[str, ...]) -> Any:
    """The figures in a command's JSON, without what no table needs; numbers to seven digits."""
    whole = json.loads(path.read_text())
    figures = whole.get("figures", whole) if isinstance(whole, dict) else whole
    for dotted in leave_out:
        _drop(figures, dotted.split("."))
    return _short(figures)


def _drop(tree: Any, keys: list[str]) -> None:
    """Remove what a path of keys names; `*` is every key or element."""
    first, *rest = keys
    if isinstance(tree, list):
        for one in tree:
            _drop(one, rest if first == "*" else keys)
    elif isinstance(tree, dict):
        for key in list(tree) if first == "*" else [key for key in (first,) if key in tree]:
            if rest:
                _drop(tree[key], rest)
            else:
                del tree[key]


def _short(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _short(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_short(one) for one in value]
    return float(f"{value:.7g}") if isinstance(value, float) else value
