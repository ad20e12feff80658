"""Steps of a training whose results stay in a folder: one that was killed goes on after the last that it finished."""

import json
import logging
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data.files import new_folder

log = logging.getLogger(__name__)

_FIGURES = "figures.json"


@dataclass(frozen=True)
class Step:
    """What a step made: files in a folder, and figures, which JSON can hold."""

    folder: Path
    figures: dict[str, Any]

    def copy_to(self, folder: Path) -> None:
        """The files into a folder that exists, sharing their bytes on disk."""
        shutil.copytree(
            self.folder, folder, copy_function=os.link, ignore=shutil.ignore_patterns(_FIGURES), dirs_exist_ok=True
        )


@dataclass(frozen=True)
class KeptSteps:
    """The steps of one training. `told` hears of each that is done: its name, its seconds (0 if it stood), figures."""

    folder: Path
    told: Callable[[str, float, dict[str, Any]], None] | None = None

    def step(self, name: str, make: Callable[[Path], dict[str, Any]]) -> Step:
        """The step as it stands from before, or as `make` makes it now: given an empty folder, it gives figures."""
        folder, began = self.folder / name, time.monotonic()
        stood = folder.exists()
        if stood:
            log.info("%s stands from before", name)
        else:
            self.folder.mkdir(parents=True, exist_ok=True)
            with new_folder(folder) as beside:
                (beside / _FIGURES).write_text(json.dumps(make(beside)) + "\n")
        found = Step(folder, json.loads((folder / _FIGURES).read_text()))
        if self.told is not None:
            self.told(name, 0.0 if stood else time.monotonic() - began, found.figures)
        return found
