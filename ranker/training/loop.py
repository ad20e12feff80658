"""Conducts a run: steps, measurements, checkpoints; a killed run goes on at the very batch of its last checkpoint."""

import math
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as distributed
from torchrec.distributed.train_pipeline import TrainPipelineSparseDist

from data.console import Bar, console, progress_bar
from ranker.errors import RankerError
from ranker.training.batch import Batch
from ranker.training.checkpoints import Checkpoints
from ranker.training.evaluation import SHOWN, evaluate
from ranker.training.feed import ReadAhead, gathered_ids, steps_of_epoch, training_batches
from ranker.training.launch import Place
from ranker.training.model import ShardedNetwork, sharded_network
from ranker.training.optimizers import Optimizers
from ranker.training.plan import ShardingConstraints, plan_table
from ranker.training.run_folder import RunFolder
from ranker.training.schedule import rate_factor
from ranker.training.settings import FitSettings
from ranker.training.sources import open_source
from ranker.training.table_decay import TableDecay
from ranker.training.window import Window


@dataclass(frozen=True)
class FitJob:
    """What every process of a run is told. `shown`: whether the first one draws a bar and the plan."""

    data: Path
    run: Path
    settings: FitSettings
    constraints: ShardingConstraints
    resume: bool = False
    shown: bool = True


def fit(place: Place, job: FitJob) -> dict[str, Any]:
    """Train to the end, or go on. The first process's figures are the answer; all processes make the same call.

    Raises:
        RankerError: the run folder or a checkpoint does not fit; an id is out of range; training diverged.
    """
    torch.manual_seed(job.settings.seed)
    folder = RunFolder(job.run)
    try:
        return Run(place, job, folder).train()
    finally:
        folder.release()


class Run:
    """One process's view of a run."""

    def __init__(self, place: Place, job: FitJob, folder: RunFolder) -> None:
        self.place, self.settings = place, job.settings
        self.shown = job.shown and place.first
        self.source = open_source(job.data, self.settings.features, self.settings.dimension)
        self.folder = folder
        self._look_at_folder(job)
        specification = self.source.specification
        self.network: ShardedNetwork = sharded_network(
            specification, self.source.table_rows, self.settings, job.constraints, place
        )
        self._standardise()
        self.optimizers = Optimizers(
            self.network.model, self.network.copied_tables, self.settings.tables, self.settings.mlps
        )
        gather = gathered_ids if place.world > 1 else None
        self.decay = TableDecay(specification, self.network.weights(), self.settings.tables.weight_decay, gather)
        self.window = Window(place)
        self.each = steps_of_epoch(self.source, self.settings.batch)
        self.steps = self.settings.epochs * self.each
        self.checkpoints = Checkpoints(self.folder.checkpoints, place)
        self.done = self._restored() if job.resume else 0
        if place.first:
            if not job.resume:  # only now: settings or constraints of which no network can be made leave no run behind
                self.folder.begin(job.settings, job.constraints, self.source)
            self.folder.forget_after(self.done)
            self.folder.write_specification(specification)
            self.folder.write_plan(self.network.placements, place.world)
        if self.shown:
            console.print(plan_table(self.network.placements, place.world))

    def _standardise(self) -> None:
        """Every process reads the same rows for it, and a checkpoint holds what they said."""
        weights = self.network.weights()
        for name, values in zip(("dense.mean", "dense.scale"), self.source.standardisation(), strict=True):
            weights[name].copy_(torch.from_numpy(values))

    def _look_at_folder(self, job: FitJob) -> None:
        if self.place.first:
            if job.resume:
                self.folder.resume(job.settings, self.source)
            else:
                self.folder.require_new()
        distributed.barrier()

    def _restored(self) -> int:
        found = self.checkpoints.restore(self._tensors())
        if found is None:
            return 0
        step, notes = found
        self.window.restore(notes["window"])
        return step

    def _tensors(self) -> dict[str, Any]:
        weights = {f"weights.{name}": one for name, one in self.network.weights().items()}
        return {**weights, **{f"optimizers.{name}": one for name, one in self.optimizers.state().items()}}

    def train(self) -> dict[str, Any]:
        settings, rows = self.settings, self.source.rows("train")
        seed = settings.seed if settings.shuffle else None
        started, began = time.perf_counter(), self.done
        pipeline = TrainPipelineSparseDist(self.network.model, self.optimizers, self.place.device)
        self.network.model.train()
        with ExitStack() as stack:
            bar = stack.enter_context(progress_bar("samples", settings.epochs * rows, self.shown))
            bar.advance(self._rows_until(self.done))
            board = _Board.open(self.folder.tensorboard, self.done) if self.place.first else None
            if board is not None:
                stack.callback(board.close)
            pin = Batch.pin_memory if self.place.device.type == "cuda" else None
            mine = training_batches(
                self.source, settings.batch, self.done, self.steps, seed, self.place.rank, self.place.world
            )
            feed = ReadAhead(mine, prepare=pin)
            stack.callback(feed.close)
            while self.done < self.steps:
                self._step(pipeline, feed)
                self._after_step(pipeline, bar, board)
        seconds = time.perf_counter() - started
        return self._finish(pipeline, seconds, began)

    def _step(self, pipeline: Any, feed: ReadAhead) -> None:
        """One step. Its random numbers (drop-out) depend on the seed and the step's number alone."""
        factor = rate_factor(self.settings.schedule, self.done)
        self.optimizers.set_rate(factor)
        torch.manual_seed((self.settings.seed * 1_000_003 + self.done * self.place.world + self.place.rank) % 2**63)
        logits, batch = pipeline.progress(feed)
        self.decay.apply(batch.bags, self.settings.tables.learning_rate * factor)
        self.window.add(logits, batch)
        self.done += 1

    def _after_step(self, pipeline: Any, bar: Bar, board: "_Board | None") -> None:
        settings = self.settings
        end_of_epoch = self.done % self.each == 0
        if self.shown:
            bar.advance(self._rows_until(self.done) - self._rows_until(self.done - 1), note=self.window.note())
        if self.done % settings.log_every == 0 or end_of_epoch:
            self._log({"train": self.window.close()}, board)
        if end_of_epoch or (settings.evaluate_every and self.done % settings.evaluate_every == 0):
            self.window.pause()
            self._log({"validation": self._evaluated(pipeline, "validation", settings.evaluation_rows)}, board)
            self.window.go_on()
        if end_of_epoch or (settings.checkpoint_every and self.done % settings.checkpoint_every == 0):
            self.window.pause()
            self._checkpoint()
            self.window.go_on()

    def _log(self, found: dict[str, dict[str, Any]], board: "_Board | None") -> None:
        (kind, figures), *_ = found.items()
        if kind == "train" and not math.isfinite(figures["log_loss"]):
            raise RankerError(
                f"training diverged before step {self.done}: the loss is {figures['log_loss']}; "
                "expected lower learning rates, or a warm-up"
            )
        if board is not None:
            factor = rate_factor(self.settings.schedule, self.done - 1)
            self.folder.measured(
                {"step": self.done, "epoch": self.done / self.each, "kind": kind, "rate_factor": factor, **figures}
            )
            board.write(kind, {**figures, "rate_factor": factor} if kind == "train" else figures, self.done)

    def _evaluated(self, pipeline: Any, split: str, most: int | None) -> dict[str, Any]:
        if not self.source.rows(split):
            return {"rows": 0}
        model = pipeline.detach() if pipeline._model_attached else self.network.model
        return evaluate(model, self.source, split, self.place, self.settings.evaluation_batch, most)

    def _checkpoint(self) -> None:
        self.checkpoints.save(self.done, self._tensors(), {"window": self.window.sums()})

    def _finish(self, pipeline: Any, seconds: float, began: int) -> dict[str, Any]:
        """The last figures, on all rows held out."""
        held_out = {split: self._evaluated(pipeline, split, None) for split in ("validation", "test")}
        if not self.place.first:
            return {}
        trained = self._rows_until(self.done) - self._rows_until(began)
        figures = {
            "network": self.settings.network,
            "processes": self.place.world,
            "seed": self.settings.seed,
            "steps": self.done,
            "rows": self.source.rows("train"),
            "seconds": seconds,
            "samples_per_second": self.window.speed(),
            "samples_of_this_call": trained,
            **held_out,
        }
        self.folder.finish(figures)
        return figures

    def _rows_until(self, step: int) -> int:
        epochs, steps = divmod(step, self.each)
        rows = self.source.rows("train")
        return epochs * rows + min(steps * self.settings.batch, rows)


class _Board:
    """TensorBoard's curves."""

    def __init__(self, writer: Any) -> None:
        self._writer = writer

    @classmethod
    def open(cls, folder: Path, step: int) -> "_Board":
        """Points after `step`, which a killed run left, are dropped from view."""
        from torch.utils.tensorboard import SummaryWriter

        return cls(SummaryWriter(str(folder), purge_step=step + 1 if step else None))

    def write(self, kind: str, figures: dict[str, Any], step: int) -> None:
        for name in ("rate_factor", "samples_per_second", *SHOWN):
            if name in figures and math.isfinite(figures[name]):
                self._writer.add_scalar(f"{name}/{kind}", figures[name], step)

    def close(self) -> None:
        self._writer.close()
