"""The end of an import: its files take their places in the workspace together."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from data.errors import DataError
from data.files import force_to_disk, temporary_beside, write_text_atomically
from data.workspace import Origin, Workspace

BAD_ROWS = "bad_rows.tsv"
"""In the workspace: the bad rows of the last import, each after what is wrong with it."""
SETTINGS = "import.json"
"""In the workspace: how its events were imported, for `--append`."""


@contextmanager
def folder_beside(workspace: Workspace) -> Iterator[Path]:
    """A folder on the workspace's disk that goes when the block ends; so does the workspace's, where it was made."""
    fresh = not workspace.root.exists()
    folder = temporary_beside(workspace.root / "import")
    try:
        try:
            folder.mkdir(parents=True)
        except OSError as error:
            raise DataError(f"{workspace.root}: expected a folder that can be written, found {error}") from error
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if fresh and workspace.root.is_dir() and not any(workspace.root.iterdir()):
            workspace.root.rmdir()


def put_in_place(workspace: Workspace, folder: Path, origin: Origin, settings: dict[str, Any], append: bool) -> None:
    """Move catalog.parquet, events.parquet and bad rows from a folder beside into the workspace.

    While events are replaced the workspace has no origin.json, and so holds no events, rather than half of them.

    Args:
        settings: how the events were imported; kept unless an earlier import's are there and events are appended.

    Raises:
        DataError: the workspace cannot be written.
    """
    saved = folder / SETTINGS
    try:
        for name in ("catalog.parquet", "events.parquet"):
            force_to_disk(folder / name)
        write_text_atomically(folder / "origin.json", json.dumps(asdict(origin), indent=2) + "\n")
        write_text_atomically(saved, json.dumps(settings, indent=2) + "\n")
        if not append:
            (workspace.root / "origin.json").unlink(missing_ok=True)
        (folder / "catalog.parquet").replace(workspace.catalog)
        (folder / "events.parquet").replace(workspace.events)
        if not append or not (workspace.root / SETTINGS).exists():
            saved.replace(workspace.root / SETTINGS)
        if (folder / BAD_ROWS).exists():
            (folder / BAD_ROWS).replace(workspace.root / BAD_ROWS)
        else:
            (workspace.root / BAD_ROWS).unlink(missing_ok=True)
        (folder / "origin.json").replace(workspace.root / "origin.json")
    except OSError as error:
        raise DataError(f"{workspace.root}: expected a folder that can be written, found {error}") from error
    if not append:
        shutil.rmtree(workspace.simulator, ignore_errors=True)  # the truth behind other events
