"""What a run did, on disk in the workspace's runs/: one folder a run, with its record and the steps it keeps."""

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, TypeAdapter

from data.files import write_text_atomically
from data.locks import locked
from data.settings import Settings, read_json
from data.workspace import Workspace
from pipeline.errors import PipelineError

Mode = Literal["daily", "hourly"]
State = Literal["running", "published", "refused", "nothing new", "failed"]

KEPT_RECORDS = 200
"""Of the runs of a workspace, the newest; older folders are removed."""

RESUMED_SECONDS = 86_400.0
"""A run that was interrupted longer ago has learnt from events too old to go on with."""


class StepRecord(Settings):
    """A step that was done, in so many seconds; figures that tell what it did."""

    name: str
    seconds: float
    figures: dict[str, Any] = Field(default_factory=dict)


class GateRecord(Settings):
    """What was measured, and what was allowed. `passes` is None where nothing could be measured; `why` tells more."""

    name: str
    value: float | None
    limit: float
    passes: bool | None
    why: str


class RunRecord(Settings):
    """
    Attributes:
        name: of the folder, such as daily-20261201T030000.
        inputs: digest of events, catalog and settings of the training. log: of the gateway's log when it began.
        started, ended: Unix seconds; ended None while it runs, or after it was killed.
        attempts: how often it was begun, 1 if it was never interrupted.
        bundle: the version that it made. told: why it ended so.
    """

    name: str
    mode: Mode
    inputs: str
    log: str
    started: float
    ended: float | None = None
    attempts: int = 1
    state: State = "running"
    steps: tuple[StepRecord, ...] = ()
    gates: tuple[GateRecord, ...] = ()
    bundle: str | None = None
    told: str = ""


class Runs:
    """The runs of a workspace. Whoever makes one holds the lock."""

    def __init__(self, workspace: Workspace) -> None:
        self.folder = workspace.root / "runs"

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Raises PipelineError while another process makes a run in this workspace."""
        self.folder.mkdir(parents=True, exist_ok=True)
        busy = f"{{holder}} makes a run in {self.folder}; expected one at a time"
        with locked(self.folder / ".running", busy, error=PipelineError):
            yield

    def records(self) -> list[RunRecord]:
        """Newest first. Raises DataError for a record that is none."""
        found = [read_json(one, RunRecord) for one in self.folder.glob("*/run.json")]
        return sorted(found, key=lambda one: one.started, reverse=True)

    def begin(self, mode: Mode, inputs: str, log: str) -> RunRecord:
        """The run of that mode that was interrupted, if it read the same inputs lately; else a new one."""
        records, started = self.records(), time.time()
        for one in records:
            if one.mode == mode and one.state == "running":
                if one.inputs == inputs and started - one.started < RESUMED_SECONDS:
                    return self.write(one.changed(attempts=one.attempts + 1, steps=(), gates=()))
                told = "interrupted; what it reads has changed since, or it is too old to go on with"
                self.write(one.changed(state="failed", ended=started, told=told))
                self.clear(one)
        for one in records[KEPT_RECORDS:]:
            shutil.rmtree(self.path(one), ignore_errors=True)
        name = f"{mode}-{time.strftime('%Y%m%dT%H%M%S', time.gmtime(started))}"
        while (self.folder / name).exists():
            name += "+"
        return self.write(RunRecord(name=name, mode=mode, inputs=inputs, log=log, started=started))

    def path(self, record: RunRecord) -> Path:
        return self.folder / record.name

    def steps(self, record: RunRecord) -> Path:
        """Where the steps are kept until the run ends."""
        return self.path(record) / "steps"

    def clear(self, record: RunRecord) -> None:
        """Remove what was kept to go on from."""
        shutil.rmtree(self.steps(record), ignore_errors=True)

    def write(self, record: RunRecord) -> RunRecord:
        self.path(record).mkdir(parents=True, exist_ok=True)
        text = TypeAdapter(RunRecord).dump_json(record, indent=2).decode()
        write_text_atomically(self.path(record) / "run.json", text + "\n", PipelineError)
        return record
