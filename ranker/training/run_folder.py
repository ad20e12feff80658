"""Where a run lies on disk.

settings.yaml, sharding.yaml     what was asked          plan.json              where the tables were, last time
data.json                        on which rows           checkpoints/           the last two, to go on from
specification.yaml, vocabulary/  copied beside           metrics.jsonl          one line per measurement
tensorboard/                     the same as curves      summary.json           the last figures, when it is done
"""

import json
import shutil
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from data.console import finite
from data.files import sha256_of, write_text_atomically
from data.locks import locked
from data.settings import dump_settings, read_json
from ranker.errors import RankerError
from ranker.features.specification import Specification, write_specification
from ranker.training.plan import Placement, ShardingConstraints
from ranker.training.settings import TrainingSettings, read_training
from ranker.training.source import Source

_PATIENCE = 5.0
"""Seconds to wait for another process's lock."""


class RunFolder:
    """Paths and small files of one run. Only the first process writes here, checkpoints apart."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.checkpoints = folder / "checkpoints"
        self.tensorboard = folder / "tensorboard"
        self.metrics = folder / "metrics.jsonl"
        self.summary = folder / "summary.json"
        self._settings = folder / "settings.yaml"
        self._data = folder / "data.json"
        self._lock = ExitStack()  # another process's, which was just killed, may take a moment to end

    @property
    def begun(self) -> bool:
        """Whether there is a run to go on with."""
        return self._settings.exists()

    @property
    def settings(self) -> TrainingSettings:
        """Of the run there. Raises RankerError where there is none."""
        if not self.begun:
            raise RankerError(f"{self.folder}: expected a run to resume, found no settings.yaml")
        return read_training(self._settings)

    @property
    def constraints(self) -> ShardingConstraints:
        return ShardingConstraints.read(self.folder / "sharding.yaml")

    @property
    def processes(self) -> int:
        """With how many it ran last; 1 before it ran."""
        path = self.folder / "plan.json"
        return int(_read_object(path)["processes"]) if path.exists() else 1

    @property
    def rows(self) -> Path:
        """The folder that the run is trained on."""
        return Path(self.data()["folder"])

    def data(self) -> dict[str, Any]:
        """Which rows the run is trained on: their folder, its digest, how many there are."""
        return _read_object(self._data)

    def require_new(self) -> None:
        """Raises RankerError if a run is there already, or anything but what one left that was killed as it began."""
        if self._settings.exists():
            raise RankerError(f"{self.folder} holds a run already; go on with --resume, or name another --output")
        if self.folder.exists() and not all(map(_of_a_beginning, self.folder.iterdir())):
            raise RankerError(f"{self.folder} holds other files; expected a new folder")

    def begin(self, settings: TrainingSettings, constraints: ShardingConstraints, source: Source) -> None:
        """Make the folder, for this process alone until `release`. Raises RankerError if a run is there already."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._take()
        self.require_new()
        for left in self.folder.iterdir():
            shutil.rmtree(left) if left.is_dir() else left.unlink()
        for companion in source.companions:
            if companion.is_dir():
                shutil.copytree(companion, self.folder / companion.name)
        write_text_atomically(self._data, json.dumps(_fingerprint(source), indent=2) + "\n")
        described = dump_settings(constraints)
        write_text_atomically(self.folder / "sharding.yaml", described)
        write_text_atomically(self._settings, dump_settings(settings))  # last: it says that the folder is a run

    def resume(self, settings: TrainingSettings, source: Source) -> None:
        """Go on with the run there, for this process alone until `release`.

        Raises:
            RankerError: as `check`; or another process is at work there.
        """
        self.check(settings, source)
        self._take()
        write_text_atomically(self._settings, dump_settings(settings))

    def check(self, settings: TrainingSettings, source: Source) -> None:
        """That the run there is this one.

        Raises:
            RankerError: there is no run, or it has other settings (epochs may grow) or other rows.
        """
        before = self.settings
        for name in type(settings).model_fields:
            old, new = getattr(before, name), getattr(settings, name)
            if old != new and not (name == "epochs" and new > old):
                raise RankerError(
                    f"{self._settings}: {name} is {old}, now {new} is asked for; expected the same, or another --output"
                )
        if (
            read_json(self._data, dict[str, Any], expected="a run's JSON", error=RankerError).get("sha256")
            != _fingerprint(source)["sha256"]
        ):
            raise RankerError(
                f"{_folder_of(source)} holds other rows than the run {self.folder} began with; expected the same "
                "folder, or another --output"
            )

    def release(self) -> None:
        """Let other processes go on with the run."""
        self._lock.close()

    def _take(self) -> None:
        otherwise = f"{self.folder}: another process trains there; wait for it, or name another --output"
        self._lock.enter_context(locked(self.folder, otherwise, error=RankerError, patience_seconds=_PATIENCE))

    def write_specification(self, specification: Specification) -> None:
        write_specification(specification, self.folder / "specification.yaml")

    def write_plan(self, placements: list[Placement], world: int) -> None:
        described = {"processes": world, "tables": [one._asdict() for one in placements]}
        write_text_atomically(self.folder / "plan.json", json.dumps(described, indent=2) + "\n")

    def forget_after(self, step: int) -> None:
        """Drop measurements that a killed run made after the checkpoint from which it goes on."""
        if not self.metrics.exists():
            return
        kept = [line for line in read_measurements(self.metrics) if line["step"] <= step]
        write_text_atomically(self.metrics, "".join(json.dumps(line) + "\n" for line in kept))

    def measured(self, line: dict[str, Any]) -> None:
        """Append one measurement; it has a `step`."""
        with self.metrics.open("a") as file:
            file.write(json.dumps(finite(line), allow_nan=False) + "\n")

    def finish(self, figures: dict[str, Any]) -> None:
        """Write the summary, which says that the run is done."""
        write_text_atomically(self.summary, json.dumps(finite(figures), indent=2, allow_nan=False) + "\n")

    def finished(self) -> dict[str, Any] | None:
        """The summary of a run that is done."""
        return (
            read_json(self.summary, dict[str, Any], expected="a run's JSON", error=RankerError)
            if self.summary.exists()
            else None
        )


def read_measurements(path: Path) -> list[dict[str, Any]]:
    """The lines of metrics.jsonl; the last one may have been cut by a kill.

    Raises:
        RankerError: another line is not a measurement.
    """
    found = []
    lines = path.read_bytes().splitlines()
    for number, line in enumerate(lines, start=1):
        try:
            one = json.loads(line)
            found.append({**one, "step": int(one["step"])})
        except (ValueError, TypeError, KeyError):
            if number < len(lines):
                raise RankerError(
                    f"{path}, line {number}: expected a measurement with its step, found {line[:40]!r}; remove the line"
                ) from None
    return found


def _of_a_beginning(path: Path) -> bool:
    """Whether `RunFolder.begin` writes it before it says that the folder is a run."""
    names = ("vocabulary", "vocabularies", "banner", "data.json", "sharding.yaml", "settings.yaml")
    return path.name in names or path.name.startswith(tuple(f".{name}." for name in names))


def _read_object(path: Path) -> dict[str, Any]:
    return read_json(path, dict[str, Any], expected="a run's JSON", error=RankerError)


def _folder_of(source: Source) -> Path:
    assert source.manifest is not None, "rows in memory have no folder"
    return source.manifest.parent


def _fingerprint(source: Source) -> dict[str, Any]:
    folder, splits = _folder_of(source), ("train", "validation", "test")
    return {
        "folder": str(folder),
        "sha256": sha256_of(folder / source.manifest.name),  # type: ignore[union-attr]
        "rows": {split: source.rows(split) for split in splits},  # type: ignore[arg-type]
    }
