"""What both demos need: the workspace they may fill, the populations they serve, and the time of their steps."""

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from data.console import console
from data.errors import DataError
from data.files import write_text_atomically
from data.workspace import Workspace

POPULATIONS = Path(__file__).with_name("populations.yaml")
_MARK = ".demo"


def check_room(workspace: Workspace, origin_name: str) -> None:
    """Raises DataError unless the workspace is empty or was filled by an earlier demo on the same kind of events."""
    if not workspace.root.exists() or not any(workspace.root.iterdir()):
        return
    mark = workspace.root / _MARK
    found = mark.read_text().strip() if mark.exists() else "something else than a demo"
    if found != origin_name:
        raise DataError(
            f"{workspace.root} holds {found}; expected an empty or new folder, or one that `tandem demo` filled with "
            f"{origin_name}: choose one with --workspace"
        )


def make_room(workspace: Workspace, origin_name: str) -> None:
    """Remove the bundles and the log that an earlier demo left: they would be counted again. Mark the folder."""
    for path in (workspace.bundles, workspace.log):
        shutil.rmtree(path, ignore_errors=True)
    for path in (workspace.root / "examples.parquet", workspace.truth):
        path.unlink(missing_ok=True)
    write_text_atomically(workspace.root / _MARK, origin_name + "\n")


class Clock:
    """Names each step on the terminal and takes its `seconds`."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        console.print(f"[bold]{name[0].upper()}{name[1:]}[/] …", highlight=False)
        started = time.perf_counter()
        yield
        self.seconds[name] = time.perf_counter() - started
        console.print(f"  {self.seconds[name]:.0f} s", highlight=False)
