"""One training step after the other: plainly, or with torchrec's pipeline, which sends the next batch's ids ahead."""

from collections.abc import Iterator
from typing import Protocol

from torch import Tensor, nn
from torchrec.distributed.model_parallel import DistributedModelParallel
from torchrec.distributed.train_pipeline import TrainPipelineSparseDist

from ranker.training.batch import Batch
from ranker.training.launch import ProcessContext
from ranker.training.optimizers import Optimizers


class Steps(Protocol):
    """What makes steps."""

    def next(self, feed: Iterator[Batch]) -> tuple[Tensor, Batch]:
        """Train on the next batch: its logits before the step, float32 [b], and the batch on its device."""

    def released(self) -> nn.Module:
        """The model, to predict with until the next step."""


class PlainSteps:
    """For one process on a CPU there is nothing to exchange, and nothing to wait for."""

    def __init__(self, model: DistributedModelParallel, optimizers: Optimizers, process: ProcessContext) -> None:
        self._model, self._optimizers, self._device = model, optimizers, process.device

    def next(self, feed: Iterator[Batch]) -> tuple[Tensor, Batch]:
        batch = next(feed).to(self._device)
        self._optimizers.zero_grad()
        loss, (logits, _) = self._model(batch)
        loss.backward()
        self._optimizers.step()
        return logits, batch

    def released(self) -> nn.Module:
        return self._model


class PipelinedSteps:
    """Ids of the next batch travel between processes, or to the GPU, while this one is computed."""

    def __init__(self, model: DistributedModelParallel, optimizers: Optimizers, process: ProcessContext) -> None:
        self._model, self._pipeline = model, TrainPipelineSparseDist(model, optimizers, process.device)

    def next(self, feed: Iterator[Batch]) -> tuple[Tensor, Batch]:
        found: tuple[Tensor, Batch] = self._pipeline.progress(feed)
        return found

    def released(self) -> nn.Module:
        return self._pipeline.detach() if self._pipeline._model_attached else self._model


def steps_of(model: DistributedModelParallel, optimizers: Optimizers, process: ProcessContext) -> Steps:
    """The quicker way where the process stands."""
    alone = process.world == 1 and process.device.type == "cpu"
    return (PlainSteps if alone else PipelinedSteps)(model, optimizers, process)
