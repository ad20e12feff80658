"""Parts that every network is made of: hidden layers with an activation, and batch norm if asked for; table lookups."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torchrec import EmbeddingBagCollection, KeyedJaggedTensor

from ranker.features.specification import Specification
from ranker.networks.shape import DlrmShape

EPSILON = 1e-5
MOMENTUM = 0.1
"""Of batch norm, as in torch."""


class BatchNorm(nn.Module):
    """Batch norm over rows: B x n -> B x n (Ioffe and Szegedy 2015, algorithms 1 and 2).

    A batch of one row has no deviation of its own; it is taken for a row of those before, as in prediction.
    """

    running_mean: Tensor
    running_variance: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(width)), nn.Parameter(torch.zeros(width))
        self.register_buffer("running_mean", torch.zeros(width))
        self.register_buffer("running_variance", torch.ones(width))

    def forward(self, inputs: Tensor) -> Tensor:
        running = self.running_mean, self.running_variance
        return batch_normalised(inputs, *running, self.weight, self.bias, self.training)


@torch.fx.wrap
def batch_normalised(
    inputs: Tensor, running_mean: Tensor, running_variance: Tensor, weight: Tensor, bias: Tensor, training: bool
) -> Tensor:
    """As nn.functional.batch_norm; torchrec's pipeline traces networks and must not look inside."""
    several = training and len(inputs) > 1
    return nn.functional.batch_norm(
        inputs, running_mean, running_variance, weight, bias, several, momentum=MOMENTUM, eps=EPSILON
    )


def linears(inputs: int, widths: Sequence[int]) -> nn.ModuleList:
    return nn.ModuleList(nn.Linear(before, after) for before, after in pairwise([inputs, *widths]))


def norms(widths: Sequence[int], shape: DlrmShape) -> nn.ModuleList | None:
    """One for each hidden layer, or None without batch norm."""
    return nn.ModuleList(BatchNorm(width) for width in widths) if shape.batch_norm else None


def activated(hidden: Tensor, activation: str) -> Tensor:
    return torch.sigmoid(hidden) if activation == "sigmoid" else torch.relu(hidden)


def through_mlps(vectors: Tensor, weights: list[Tensor], biases: list[Tensor], activation: str) -> Tensor:
    """F MLPs, one for each vector of a row: B x F x d -> B x F x d'. Weights F x after x before, biases F x after."""
    hidden = vectors.transpose(0, 1)
    for k, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
        hidden = torch.baddbmm(bias[:, None], hidden, weight.transpose(1, 2))
        if k < len(weights) - 1:
            hidden = activated(hidden, activation)
    return hidden.transpose(0, 1)


class Lookups:
    """What a batch's ids are turned into, feature by feature, in the specification's order."""

    def __init__(self, specification: Specification) -> None:
        self.names = [one.name for one in specification.table_features]
        self._added_up = {bag.name for bag in specification.bags if bag.pooling == "sum"}
        self._pooled_by_sum = set(sum_tables(specification))
        self._tables = {one.name: one.table for one in specification.table_features}

    def of(self, embeddings: EmbeddingBagCollection, bags: KeyedJaggedTensor) -> list[Tensor]:
        """A float32 [B, dimension of its table] per feature.

        A table has one pooling in fbgemm. Where its bags differ it averages, and a sum is the mean times the number of
        ids; where a bag has weights, every table adds up, and the weights pool.
        """
        embedded = embeddings(bags).to_dict()
        found = []
        for name in self.names:
            one = embedded[name]
            if name in self._added_up and self._tables[name] not in self._pooled_by_sum:
                one = one * bags[name].lengths()[:, None]
            found.append(one)
        return found


def sum_tables(specification: Specification) -> list[str]:
    """The tables all of whose bags are added up; the others average. All of them where ids have weights."""
    if specification.weighs:
        return [*specification.tables]
    found = []
    for table in specification.tables:
        poolings = {bag.pooling for bag in specification.bags if bag.table == table}
        if poolings == {"sum"}:
            found.append(table)
    return found
