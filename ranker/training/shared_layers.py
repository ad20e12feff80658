"""Layers that see the rows of all processes together, so that k processes train a step as one would.

Batch norm, since torch's SyncBatchNorm wants GPUs and counts padding as rows; and drop-out, whose draws are those of
the row in the whole step, whoever holds it.
"""

from typing import Any

import torch
import torch.distributed as distributed
from torch import Tensor, nn

from ranker.networks.layers import EPSILON, MOMENTUM, BatchNorm


class _SumOverProcesses(torch.autograd.Function):
    """The sum of every process's tensor, on each. All of them read it, so its gradient is the sum of theirs."""

    @staticmethod
    def forward(context: Any, own: Tensor) -> Tensor:
        total = own.clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].clone(memory_format=torch.contiguous_format)
        distributed.all_reduce(total)
        return total


class StepRows:
    """What the layers are told before every forward pass.

    Attributes:
        weight: float32 [b], above 0 for the rows of this process's share that are no padding.
        seed: of the step's drop-out. rank: of the process, which holds the rows rank * b and on.
    """

    def __init__(self, rank: int = 0) -> None:
        self.weight: Tensor | None = None
        self.seed, self.rank, self._drawn = 0, rank, 0

    def begin(self, weight: Tensor) -> None:
        """A forward pass begins."""
        self.weight, self._drawn = weight, 0

    def next_seed(self) -> int:
        """A seed for every draw of a forward pass, the same on every process."""
        self._drawn += 1
        return (self.seed * 1_009 + self._drawn) % 2**63


class SharedBatchNorm(BatchNorm):
    """`BatchNorm` whose means and deviations are those of the whole step."""

    def __init__(self, own: BatchNorm, rows: StepRows) -> None:
        """Takes the parameters and buffers of `own`."""
        super().__init__(0)
        self.weight, self.bias = own.weight, own.bias
        self.running_mean, self.running_variance = own.running_mean, own.running_variance
        self._rows = rows

    def forward(self, inputs: Tensor) -> Tensor:
        if not self.training:
            return super().forward(inputs)
        running = self.running_mean, self.running_variance
        return normalised_together(inputs, self._rows.weight, *running, self.weight, self.bias)


@torch.fx.wrap
def normalised_together(
    inputs: Tensor, rows: Tensor | None, running_mean: Tensor, running_variance: Tensor, weight: Tensor, bias: Tensor
) -> Tensor:
    """B x n -> B x n, as nn.functional.batch_norm of the rows of all processes; padding is passed through, uncounted.

    Every process makes the same call. Gradients flow to the rows of the others too.
    """
    real = torch.ones(len(inputs), 1, device=inputs.device) if rows is None else (rows > 0).float()[:, None]
    count = real.sum()
    distributed.all_reduce(count)
    if count <= 1:  # no deviation: taken for a row of those before
        return nn.functional.batch_norm(inputs, running_mean, running_variance, weight, bias, False, eps=EPSILON)
    mean = _SumOverProcesses.apply((inputs * real).sum(dim=0)) / count
    centred = inputs - mean
    variance = _SumOverProcesses.apply((centred.square() * real).sum(dim=0)) / count
    with torch.no_grad():
        running_mean.lerp_(mean, MOMENTUM)
        running_variance.lerp_(variance * count / (count - 1), MOMENTUM)
    return centred * torch.rsqrt(variance + EPSILON) * weight + bias


def with_shared_norms(network: nn.Module, rows: StepRows) -> nn.Module:
    """The same network and parameters, every batch norm over all processes."""
    for module in list(network.modules()):
        for name, child in list(module.named_children()):
            if type(child) is BatchNorm:
                setattr(module, name, SharedBatchNorm(child, rows))
    return network


class SharedDropout(nn.Module):
    """nn.Dropout whose draws are a function of the step, the layer and the row's place in the whole step."""

    def __init__(self, share: float, rows: StepRows) -> None:
        super().__init__()
        self.share, self._rows = share, rows

    def forward(self, inputs: Tensor) -> Tensor:
        if not self.training:
            return inputs
        return dropped(inputs, self.share, self._rows.next_seed(), self._rows.rank)


@torch.fx.wrap
def dropped(inputs: Tensor, share: float, seed: int, rank: int) -> Tensor:
    """B x n -> B x n: entries are 0 with probability `share`, the others divided by its complement."""
    generator = torch.Generator(inputs.device)
    generator.manual_seed(seed)
    first = rank * len(inputs)  # every process's share has as many rows
    drawn = torch.rand(first + len(inputs), inputs.shape[1], generator=generator, device=inputs.device)
    return inputs * (drawn[first:] >= share) / (1 - share)


def with_shared_dropout(network: nn.Module, rows: StepRows) -> nn.Module:
    """The same network, every drop-out drawn for all processes alike."""
    for module in list(network.modules()):
        for name, child in list(module.named_children()):
            if type(child) is nn.Dropout and child.p > 0:
                setattr(module, name, SharedDropout(child.p, rows))
    return network
