"""Batch norm over the rows of all processes together, so that k processes normalise a step as one would.

torch's SyncBatchNorm wants GPUs, and counts padding as rows.
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


class RealRows:
    """Which rows of this process's share are no padding: float32 [b] above 0 there, set before every forward pass."""

    weight: Tensor | None = None


class SharedBatchNorm(BatchNorm):
    """`BatchNorm` whose means and deviations are those of the whole step."""

    def __init__(self, own: BatchNorm, rows: RealRows) -> None:
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


def with_shared_norms(network: nn.Module, rows: RealRows) -> nn.Module:
    """The same network and parameters, every batch norm over all processes."""
    for module in list(network.modules()):
        for name, child in list(module.named_children()):
            if type(child) is BatchNorm:
                setattr(module, name, SharedBatchNorm(child, rows))
    return network
