"""Train on encoded examples and have the weights back: in this process, or in several of this host."""

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from ranker.training.examples_source import ExamplesSource, open_examples
from ranker.training.launch import ProcessContext, launch
from ranker.training.model import State
from ranker.training.settings import TrainingSettings
from ranker.training.trainer import Trainer


@dataclass(frozen=True)
class ExamplesJob:
    """What is trained.

    Attributes:
        start: weights to go on from, None to draw them.
        until: passes over the rows after which to end, whatever validation says; None: as the settings say.
        calibrated: as `Trainer`.
        title: of the progress bar.
    """

    settings: TrainingSettings
    start: State | None = None
    until: float | None = None
    calibrated: bool = False
    title: str = "DLRM"


@dataclass(frozen=True)
class Trained:
    """The weights of the unsharded network; the step they are of, and the passes over the rows that makes."""

    state: State
    step: int
    epochs: float


def train_on_examples(source: ExamplesSource, job: ExamplesJob, processes: int = 1, threads: int | None = 1) -> Trained:
    """Several processes train the network of one, to rounding, its tables spread over them.

    Raises:
        RankerError: training diverged, or a process died.
    """
    if processes == 1:
        return Trained(*launch(1, "cpu", threads, _train, source, job))
    with tempfile.TemporaryDirectory(prefix="tandem-examples-") as name:
        folder = Path(name)
        source.save(folder / "rows")
        if job.start is not None:
            save_file({key: one.contiguous() for key, one in job.start.items()}, folder / "start.safetensors")
        step, epochs = launch(processes, "cpu", threads, _train_from, folder, replace(job, start=None))
        return Trained(load_file(folder / "trained.safetensors"), step, epochs)


def _train_from(process: ProcessContext, folder: Path, job: ExamplesJob) -> tuple[int, float]:
    """One of several processes: rows and weights lie in a folder that all of them see."""
    begun = folder / "start.safetensors"
    start = load_file(begun) if begun.exists() else None
    state, step, epochs = _train(process, open_examples(folder / "rows"), replace(job, start=start))
    if process.first:
        save_file(dict(state), folder / "trained.safetensors")
    return step, epochs


def _train(process: ProcessContext, source: ExamplesSource, job: ExamplesJob) -> tuple[State, int, float]:
    with torch.random.fork_rng(devices=[]):
        trainer = Trainer(process, source, job.settings, start=job.start, calibrated=job.calibrated)
        last = None if job.until is None else max(1, round(job.until * trainer.each))
        trainer.train(title=job.title if process.first else None, until=last)
        trainer.require_finite()
        step = trainer.done if trainer.best is None else trainer.best.step
        return trainer.network.gathered(), step, step / trainer.each
