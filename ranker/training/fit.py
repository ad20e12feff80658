"""`tandem ranker fit`: a training recorded in a folder. A killed one goes on at the batch of its last checkpoint."""

import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as distributed

from data.console import console
from ranker.evaluation.calibration import fit_platt
from ranker.training.checkpoints import Checkpoints
from ranker.training.evaluation import SHOWN, Predicted, figures_of
from ranker.training.launch import ProcessContext
from ranker.training.plan import ShardingConstraints, plan_table
from ranker.training.run_folder import RunFolder
from ranker.training.schedule import rate_factor
from ranker.training.settings import TrainingSettings
from ranker.training.source import Split
from ranker.training.sources import open_source
from ranker.training.trainer import Trainer, Watcher


@dataclass(frozen=True)
class FitJob:
    """What every process of a run is told. `shown`: whether the first one draws a bar and the plan."""

    data: Path
    run: Path
    settings: TrainingSettings
    constraints: ShardingConstraints
    resume: bool = False
    shown: bool = True


def fit(process: ProcessContext, job: FitJob) -> dict[str, Any]:
    """Train to the end, or go on. The first process's figures are the answer; all processes make the same call.

    Raises:
        RankerError: the run folder or a checkpoint does not fit; an id is out of range; training diverged.
    """
    torch.manual_seed(job.settings.seed)
    folder = RunFolder(job.run)
    source = open_source(job.data, job.settings.features, job.settings.dimension)
    if process.first:
        if job.resume:
            folder.resume(job.settings, source)
        else:
            folder.require_new()
    distributed.barrier()
    try:
        trainer = Trainer(process, source, job.settings, job.constraints)
        recorder = Recorder(trainer, folder, job)
        try:
            return _run(trainer, recorder, folder, job)
        finally:
            recorder.close()
    finally:
        folder.release()


def _run(trainer: Trainer, recorder: "Recorder", folder: RunFolder, job: FitJob) -> dict[str, Any]:
    process, source, began = trainer.process, trainer.source, trainer.done
    if process.first:
        if not job.resume:  # only now: settings or constraints of which no network can be made leave no run behind
            folder.begin(job.settings, job.constraints, source)
        folder.forget_after(began)
        folder.write_specification(source.specification)
        folder.write_plan(trainer.network.placements, process.world)
    shown = job.shown and process.first
    if shown:
        console.print(plan_table(trainer.network.placements, process.world))
    started = time.perf_counter()
    recorder.open()
    trainer.train(recorder, "samples" if shown else None)
    seconds = time.perf_counter() - started
    trainer.require_finite()
    splits: tuple[Split, ...] = ("validation", "test")
    predicted = {split: trainer.predict(split) for split in splits if source.rows(split)}
    if not process.first:
        return {}
    held_out = {str(split): figures_of(predicted[split]) if split in predicted else {"rows": 0} for split in splits}
    figures = {
        "network": job.settings.network,
        "processes": process.world,
        "seed": job.settings.seed,
        "steps": trainer.done,
        "best_step": trainer.best.step if trainer.best is not None else trainer.done,
        "rows": source.rows("train"),
        "seconds": seconds,
        "samples_per_second": trainer.window.speed(),
        "samples_of_this_call": trainer.rows_until(trainer.done) - trainer.rows_until(began),
        **held_out,
    }
    if "validation" in predicted:
        platt = fit_platt(*predicted["validation"])
        figures["platt"] = {"slope": platt.slope, "shift": platt.shift}
    folder.finish(figures)
    return figures


class Recorder(Watcher):
    """Writes measurements and checkpoints into a run's folder, and reads the checkpoint to go on from."""

    def __init__(self, trainer: Trainer, folder: RunFolder, job: FitJob) -> None:
        self._trainer, self._folder = trainer, folder
        self._checkpoints = Checkpoints(folder.checkpoints, trainer.process)
        self._board: Any = None
        if job.resume:
            self._restore()

    def open(self) -> None:
        """Begin TensorBoard's curves; points after the present step, which a killed run left, are dropped from view."""
        if self._trainer.process.first:
            from torch.utils.tensorboard import SummaryWriter

            step = self._trainer.done
            self._board = SummaryWriter(str(self._folder.tensorboard), purge_step=step + 1 if step else None)

    def close(self) -> None:
        if self._board is not None:
            self._board.close()

    def trained(self, step: int, figures: dict[str, float]) -> None:
        self._write("train", step, figures)

    def validated(self, step: int, predicted: Predicted) -> None:
        if self._trainer.process.first:
            self._write("validation", step, figures_of(predicted))

    def checkpoint_due(self) -> None:
        """A checkpoint holds weights, optimizer states and the step; with patience, which one was best, which stays."""
        trainer = self._trainer
        trainer.require_finite()
        notes: dict[str, Any] = {"window": trainer.window.sums()}
        if trainer.best is not None:
            notes["best"] = trainer.best.notes()
        self._checkpoints.save(trainer.done, trainer.tensors(), notes)

    def _restore(self) -> None:
        trainer = self._trainer
        found = self._checkpoints.restore(trainer.tensors())
        if found is None:
            return
        step, notes = found
        if trainer.best is not None and "best" in notes:
            if notes["best"]["step"] != step:
                self._checkpoints.load(notes["best"]["step"], trainer.tensors())
            trainer.best.keep()
            self._checkpoints.load(step, trainer.tensors())
            trainer.best.go_on(notes["best"])
        trainer.window.restore(notes["window"])
        trainer.done = step

    def _write(self, kind: str, step: int, figures: dict[str, Any]) -> None:
        if self._board is None:
            return
        trainer = self._trainer
        factor = rate_factor(trainer.settings.schedule, max(step - 1, 0), trainer.steps)
        told = {"step": step, "epoch": step / trainer.each, "kind": kind, "rate_factor": factor}
        self._folder.measured({**told, **figures})
        curves = {**figures, "rate_factor": factor} if kind == "train" else figures
        for name in ("rate_factor", "samples_per_second", *SHOWN):
            if name in curves and math.isfinite(curves[name]):
                self._board.add_scalar(f"{name}/{kind}", curves[name], step)
