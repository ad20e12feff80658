"""A workspace's runs as a page: runs/index.html, newest first."""

import time
from typing import Any

from data.files import write_text_atomically
from data.templates import environment_of
from data.workspace import Workspace
from pipeline.errors import PipelineError
from pipeline.runs.record import RunRecord, Runs

_SHOWN = 60
_MARKS = {"published": "ok", "nothing new": "unknown", "running": "look", "refused": "alarm", "failed": "alarm"}


def write_page(runs: Runs, workspace: Workspace) -> None:
    """Write the page of the newest runs, whole or not at all. It needs nothing else, and no script."""
    records = runs.records()
    page = environment_of("pipeline.runs").get_template("runs.html")
    shown = [_shown(one) for one in records[:_SHOWN]]
    text = page.render(workspace=str(workspace.root), runs=shown, more=len(records) - len(shown))
    write_text_atomically(runs.folder / "index.html", text, PipelineError)


def _shown(record: RunRecord) -> dict[str, Any]:
    seconds = None if record.ended is None else record.ended - record.started
    return {
        "record": record,
        "began": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(record.started)),
        "took": "" if seconds is None else f"{seconds:,.0f} s",
        "mark": _MARKS[record.state],
        "figures": {step.name: _figures(step.figures) for step in record.steps},
    }


def _figures(figures: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in figures.items() if isinstance(value, int | float | str))
