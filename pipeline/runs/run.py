"""One run: new files in, both stages or the ranker trained, the gates, a bundle in service, old ones removed."""

import logging
import time
from pathlib import Path
from typing import Any

from candidates.new_items.addition import AdditionConfig, CatalogRequest, update_catalog
from data.bundle import Bundle
from data.errors import TandemError
from data.files import sha256_of, sha256_of_json
from data.importers import ImportOptions, import_file
from data.learning import learning_events
from data.workspace import Workspace
from pipeline.bundles import remove_old_bundles
from pipeline.carrying import keep_ranker_of
from pipeline.errors import PipelineError
from pipeline.kept import KeptSteps
from pipeline.runs.files_read import FilesRead
from pipeline.runs.gates import drift_of, gates_of_bundle, gates_of_inputs
from pipeline.runs.page import write_page
from pipeline.runs.record import GateRecord, Mode, RunRecord, Runs, StepRecord
from pipeline.runs.settings import PipelineSettings
from pipeline.settings import TrainingPlan
from pipeline.training import train_bundle
from ranker.updates.update import NothingNewError, UpdateConfig, update_ranker

log = logging.getLogger(__name__)


class RefusedError(PipelineError):
    """A gate did not pass."""


class Run:
    """A run as it goes: what is done is written down at once, so that a killed one goes on."""

    def __init__(self, settings: PipelineSettings, mode: Mode, allow: bool) -> None:
        self.settings, self.mode, self.allow = settings, mode, allow
        self.workspace = Workspace(settings.workspace)
        self.runs = Runs(self.workspace)
        self.record: RunRecord

    def make(self, again: bool = False) -> RunRecord:
        """Make the run, or go on with the one of this mode that was interrupted.

        Args:
            again: also train where nothing has changed since the last run.

        Raises:
            TandemError: another run goes on; or a step failed, or a gate did not pass: the record says so too.
        """
        self.workspace.origin()
        with self.runs.alone():
            imported = self._imported()
            inputs, logged = self._inputs(), _state_of(self.workspace.log)
            before = next((one for one in self.runs.records() if one.mode == self.mode and one.state != "failed"), None)
            self.record = self.runs.begin(self.mode, inputs, logged)
            for step in imported:
                self._step(*step)
            stands = before is not None and before.state in ("published", "nothing new")
            same = before is not None and (before.inputs, before.log) == (inputs, logged)
            if before is not None and stands and same and self.mode == "daily" and not again:
                return self._ended("nothing new", f"run {before.name} has read the same", before.bundle)
            try:
                return self._daily() if self.mode == "daily" else self._hourly()
            except TandemError as error:
                self._ended("refused" if isinstance(error, RefusedError) else "failed", str(error), self.record.bundle)
                raise

    def _inputs(self) -> str:
        """A digest of what a training reads, the log apart."""
        place, plan = self.workspace, TrainingPlan.of(self.workspace)
        return sha256_of_json([vars(place.origin()), sha256_of(place.catalog), plan.model_dump(mode="json")])

    def _imported(self) -> list[tuple[str, float, dict[str, Any]]]:
        """New files into the workspace; each stands once, even if the run is killed between two."""
        imports, found = self.settings.imports, []
        read = FilesRead(self.runs.folder / "files.json")
        options = ImportOptions(None, {}, {}, {}, skip_bad=imports.skip_bad)
        paths = sorted({one for pattern in imports.events for one in _matching(Path(pattern))})
        for path in paths:
            digest = read.new(path)
            if digest is not None:
                began = time.monotonic()
                report = import_file(self.workspace, [path], "auto", options, append=True)
                read.add(path, digest)
                counts = {"rows": report.rows_read, "events": report.events, "there already": report.already_there}
                found.append((f"import {path.name}", time.monotonic() - began, counts))
        catalog = imports.catalog
        if catalog is not None and (digest := read.new(catalog)) is not None:
            began = time.monotonic()
            request = CatalogRequest(catalog, None, False, imports.retire_missing, imports.skip_bad, self.allow)
            _, figures = update_catalog(self.workspace, request, AdditionConfig(), keep_ranker_of)
            read.add(catalog, digest)
            found.append((f"catalog {catalog.name}", time.monotonic() - began, dict(figures["changes"])))
        return found

    def _daily(self) -> RunRecord:
        plan = TrainingPlan.of(self.workspace)
        steps = KeptSteps(self.runs.steps(self.record), self._trained)
        began = time.monotonic()
        events = learning_events(self.workspace, steps.folder / "events", plan.from_log)
        drift = drift_of(events.files, self.workspace.catalog)
        self._step("drift", time.monotonic() - began, drift.figures())
        self._gate(gates_of_inputs(self.settings.gates, drift))
        bundle = train_bundle(self.workspace, plan, allow=self.allow, steps=steps, check=self._check)
        return self._published(bundle, "both stages learnt anew")

    def _check(self, bundle: Bundle, before: Bundle | None) -> None:
        self.record = self.runs.write(self.record.changed(bundle=bundle.version))
        old = None if before is None else before.metrics
        self._gate(gates_of_bundle(self.settings.gates, bundle.metrics, old))

    def _hourly(self) -> RunRecord:
        began = time.monotonic()
        try:
            update = update_ranker(self.workspace, UpdateConfig(minimum=self.settings.minimum_displays))
        except NothingNewError as error:
            return self._ended("nothing new", str(error))
        told = update.comparison.worse
        self._step("ranker update", time.monotonic() - began, {"requests": update.comparison.requests})
        if update.bundle is None:
            return self._ended("refused", f"the updated ranker: {told}")
        return self._published(update.bundle, "the ranker went on from the one before")

    def _published(self, bundle: Bundle, told: str) -> RunRecord:
        removed = remove_old_bundles(self.workspace, self.settings.keep)
        if removed:
            self._step("old bundles", 0.0, {"removed": len(removed)})
        return self._ended("published", told, bundle.version)

    def _trained(self, name: str, seconds: float, figures: dict[str, Any]) -> None:
        kept = {key: value for key, value in figures.items() if isinstance(value, int | float | str)}
        self._step(name, seconds, kept)

    def _step(self, name: str, seconds: float, figures: dict[str, Any]) -> None:
        step = StepRecord(name=name, seconds=seconds, figures=figures)
        self.record = self.runs.write(self.record.changed(steps=(*self.record.steps, step)))

    def _gate(self, found: list[GateRecord]) -> None:
        """Raises RefusedError where one does not pass, unless told to go on all the same."""
        self.record = self.runs.write(self.record.changed(gates=(*self.record.gates, *found)))
        failed = [f"{one.name} {one.value:.3f} above {one.limit:g} ({one.why})" for one in found if one.passes is False]
        if failed and not self.allow:
            stays = f"bundle {self.record.bundle} is not published" if self.record.bundle else "nothing was trained"
            raise RefusedError(f"{'; '.join(failed)}: {stays}; expected gates that pass, or --allow")

    def _ended(self, state: Any, told: str, bundle: str | None = None) -> RunRecord:
        self.record = self.runs.write(
            self.record.changed(state=state, told=told, ended=time.time(), bundle=bundle or self.record.bundle)
        )
        self.runs.clear(self.record)
        write_page(self.runs, self.workspace)
        return self.record


def _matching(pattern: Path) -> list[Path]:
    """Files of a folder that is named, by a pattern of names."""
    return [one for one in pattern.parent.glob(pattern.name) if one.is_file()]


def _state_of(log: Path) -> str:
    """A digest of the files of the gateway's log and their sizes."""
    files = sorted(
        one for folder in ("displays", "tracked", "wal") for one in (log / folder).rglob("*") if one.is_file()
    )
    return sha256_of_json([[one.relative_to(log).as_posix(), one.stat().st_size] for one in files])


def make_run(settings: PipelineSettings, mode: Mode, again: bool = False, allow: bool = False) -> RunRecord:
    """A run of a workspace's pipeline. `again`, and what is raised: as `Run.make`.

    Args:
        allow: publish what a gate refuses, and what is poorer than the bundle in service.
    """
    return Run(settings, mode, allow).make(again)
