"""One process's rows of one step, as tensors that torchrec's pipeline can move."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torchrec import KeyedJaggedTensor
from torchrec.streamable import Pipelineable

from ranker.training.source import HostRows


@dataclass
class Batch(Pipelineable):
    """b rows of one process.

    Attributes:
        dense: float32 [b, D]. bags: the ids, b bags per feature. position: int64 [b], 0 where none is known.
        label: float32 [b], or of several heads [heads, b].
        weight: float32 [b]: what a row counts in this process's loss, 0 for padding.
    """

    dense: Tensor
    bags: KeyedJaggedTensor
    position: Tensor
    label: Tensor
    weight: Tensor

    @property
    def clicks(self) -> Tensor:
        """float32 [b]: the labels of the first head."""
        return self.label if self.label.dim() == 1 else self.label[0]

    def to(self, device: torch.device, non_blocking: bool = False) -> "Batch":
        return Batch(
            self.dense.to(device, non_blocking=non_blocking),
            self.bags.to(device, non_blocking=non_blocking),
            self.position.to(device, non_blocking=non_blocking),
            self.label.to(device, non_blocking=non_blocking),
            self.weight.to(device, non_blocking=non_blocking),
        )

    def record_stream(self, stream: torch.Stream) -> None:
        for tensor in (self.dense, self.position, self.label, self.weight):
            tensor.record_stream(stream)
        self.bags.record_stream(stream)

    def pin_memory(self) -> "Batch":
        """The same in page-locked memory, from which a GPU copies without waiting."""
        return Batch(
            self.dense.pin_memory(),
            self.bags.pin_memory(),
            self.position.pin_memory(),
            self.label.pin_memory(),
            self.weight.pin_memory(),
        )


def batch_of(rows: HostRows, names: list[str], size: int, weight: float) -> Batch:
    """Tensors of `rows`, filled up to `size` rows with padding: empty bags, weight 0, so that no table row is read.

    Equal sizes on every process keep torchrec's exchanges on their common path, whatever the last batch holds.
    """
    count, features = len(rows.dense), len(names)
    lengths = rows.lengths if rows.lengths is not None else np.ones(features * count, np.int32)
    weights = np.full(size, weight, np.float32)
    dense, label = rows.dense, rows.label
    position = rows.position if rows.position is not None else np.zeros(count, np.int64)
    if count < size:
        lengths = np.pad(lengths.reshape(features, count), ((0, 0), (0, size - count))).ravel()
        dense, label = (
            np.pad(dense, ((0, size - count), (0, 0))),
            np.pad(label, ((0, 0),) * (label.ndim - 1) + ((0, size - count),)),
        )
        position = np.pad(position, (0, size - count))
        weights[count:] = 0
    bags = KeyedJaggedTensor(
        keys=names,
        values=torch.from_numpy(rows.values),
        weights=None if rows.weights is None else torch.from_numpy(rows.weights),
        lengths=torch.from_numpy(lengths),
        stride=size,
    )
    return Batch(
        torch.from_numpy(dense),
        bags,
        torch.from_numpy(position),
        torch.from_numpy(label),
        torch.from_numpy(weights),
    )
