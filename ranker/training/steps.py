"""One training step after the other: plainly, or with torchrec's pipeline, which sends the next batch's ids ahead."""

from collections.abc import Iterator

from torch import Tensor, nn
from torchrec.distributed.model_parallel import DistributedModelParallel
from torchrec.distributed.train_pipeline import TrainPipelineSparseDist

from ranker.training.batch import Batch
from ranker.training.launch import ProcessContext
from ranker.training.optimizers import Optimizers


class Steps:
    """Makes steps. One process on a CPU has nothing to exchange, and nothing to wait for: it needs no pipeline."""

    def __init__(self, model: DistributedModelParallel, optimizers: Optimizers, process: ProcessContext) -> None:
        self._model, self._optimizers, self._device = model, optimizers, process.device
        alone = process.world == 1 and process.device.type == "cpu"
        self._pipeline = None if alone else TrainPipelineSparseDist(model, optimizers, process.device)

    def next(self, feed: Iterator[Batch]) -> tuple[Tensor, Batch]:
        """Train on the next batch: its logits before the step, float32 [b], and the batch on its device."""
        if self._pipeline is not None:
            found: tuple[Tensor, Batch] = self._pipeline.progress(feed)
            return found
        batch = next(feed).to(self._device)
        self._optimizers.zero_grad()
        loss, (logits, _) = self._model(batch)
        loss.backward()
        self._optimizers.step()
        return logits, batch

    def released(self) -> nn.Module:
        """The model, to predict with until the next step."""
        if self._pipeline is not None and self._pipeline._model_attached:
            return self._pipeline.detach()
        return self._model
