"""What commands share: the terminal, progress bars, logging, and figures written to a file."""

import dataclasses
import json
import logging
import math
import os
import platform
import sys
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.logging import RichHandler
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from data.errors import DataError
from data.files import write_text_atomically

if TYPE_CHECKING:
    from rich.table import Table

WIDTH = 120
"""Characters of a table that goes to a file or a pipe, unless COLUMNS says another: no figure of it is cut."""

console = Console(width=None if sys.stdout.isatty() or "COLUMNS" in os.environ else WIDTH)
"""Where tables and answers go (standard output)."""

notices = Console(stderr=True)
"""Where progress, logs and errors go (standard error)."""

WorkspaceOption = Annotated[
    Path, typer.Option("--workspace", "-w", help="The folder of this experiment's files.", show_default=True)
]


def _writable(path: Path | None) -> Path | None:
    """Told at once, not after hours of work: raises DataError where the file could not be written."""
    if path is None:
        return None
    folder = next(place for place in path.absolute().parents if place.exists())
    if path.is_dir() or not folder.is_dir() or not os.access(folder, os.W_OK):
        raise DataError(f"--json {path}: expected a file in a folder that can be written")
    return path


TIMES = ["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S"]
"""How a moment is written as an option."""

JsonOption = Annotated[
    Path | None, typer.Option("--json", callback=_writable, help="Also write the figures to this file.")
]
SeedOption = Annotated[int, typer.Option("--seed", min=0, max=2**63 - 1, help="Seed of everything random.")]
SeedsOption = Annotated[int, typer.Option("--seeds", min=1, help="How many runs, of the seeds 0, 1, 2 and so on.")]
ProcessesOption = Annotated[int, typer.Option("--processes", min=1, help="How many processes work at once.")]
NewFolderOption = Annotated[Path, typer.Option("--output", "-o", help="The new folder.", show_default=False)]
ResultsOption = Annotated[
    Path, typer.Option("--output", "-o", help="The folder of the results; a run that was killed goes on from there.")
]

DEFAULT_WORKSPACE = Path("workspace")


def set_up_logging(verbose: bool = False) -> None:
    """Tandem's own words on standard error; of the libraries, warnings only."""
    handler: logging.Handler
    if notices.is_terminal:
        handler = RichHandler(console=notices, show_path=False, rich_tracebacks=True)
    else:  # a file or a pipe: one whole line each
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s", "%Y-%m-%d %H:%M:%S"))
    logging.basicConfig(level=logging.WARNING, format="%(message)s", handlers=[handler])
    for part in ("data", "candidates", "ranker", "pipeline", "gateway"):
        logging.getLogger(part).setLevel(logging.DEBUG if verbose else logging.INFO)
    logging.getLogger("torch.fx").setLevel(logging.ERROR)  # it warns of a renamed function that torchrec calls


@contextmanager
def progress_bar(what: str, total: int | None, shown: bool = True) -> Iterator["Bar"]:
    """A bar on standard error: `with progress_bar("LED", steps) as bar: bar.advance(note="loss .31")`."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=notices, transient=not notices.is_terminal, disable=not shown) as progress:
        yield Bar(progress, progress.add_task(what, total=total, note=""))


class Bar:
    def __init__(self, progress: Progress, task: Any) -> None:
        self._progress, self._task = progress, task

    def advance(self, by: int = 1, note: str | None = None) -> None:
        fields: dict[str, Any] = {} if note is None else {"note": note}
        self._progress.update(self._task, advance=by, **fields)

    def expect(self, total: int | None) -> None:
        """Say how much there will be, once that is known."""
        self._progress.update(self._task, total=total)


def table(title: str, *columns: str, left: Collection[str] | None = None, **options: Any) -> "Table":
    """A table yet without rows; `left` columns are text (by default the first), the others figures."""
    from rich.table import Table

    made = Table(title=title, show_header=any(columns), **options)
    for place, name in enumerate(columns):
        text = place == 0 if left is None else name in left
        made.add_column(name, justify="left" if text else "right")
    return made


def write_figures(path: Path | None, figures: Any) -> None:
    """Write a command's figures as JSON with what is needed to repeat them; does nothing if `path` is None.

    `figures`: a dataclass, or what `finite` takes. What is not a finite number (an AUC of rows of one class) becomes
    null: JSON knows no NaN.
    """
    if path is None:
        return
    made = {
        "command": " ".join(["tandem", *sys.argv[1:]]),
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "figures": figures,
    }
    write_text_atomically(path, json.dumps(finite(made), indent=2, allow_nan=False) + "\n")


def finite(value: Any) -> Any:
    """The same as JSON wants it: dataclasses as their fields, plain numbers, None for those that are not finite."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: finite(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, dict):
        return {name: finite(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [finite(one) for one in value]
    if value is None or isinstance(value, str | bool | int):
        return value
    return float(value) if math.isfinite(value) else None
