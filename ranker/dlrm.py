"""DLRM (arXiv 1906.00091, section 2.2): bottom MLP, embedding bags, dot interactions, top MLP. Logits out; no loss."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torchrec import EmbeddingBagCollection, EmbeddingBagConfig, KeyedJaggedTensor, PoolingType

from ranker.examples import NO_ROW, Examples, row_of_position
from ranker.interaction import trained_interactions
from ranker.shape import DlrmShape
from ranker.specification import Specification


class DenseArch(nn.Module):
    """Standardise and mix the dense features: B x D -> B x d."""

    mean: Tensor
    scale: Tensor

    def __init__(self, dense: int, widths: Sequence[int]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(dense))
        self.register_buffer("scale", torch.ones(dense))
        self.layers = _layers(dense, widths)

    @property
    def first_layer(self) -> nn.Linear:
        layer = self.layers[0]
        assert isinstance(layer, nn.Linear)
        return layer

    def forward(self, dense: Tensor) -> Tensor:
        mixed = (dense - self.mean) * self.scale
        for layer in self.layers:
            mixed = torch.relu(layer(mixed))
        return mixed


class OverArch(nn.Module):
    """B x (d + F (F - 1) / 2) -> B: the logit. Drop-out after every hidden layer, in training only."""

    def __init__(self, inputs: int, widths: Sequence[int], dropout: float) -> None:
        super().__init__()
        self.layers = _layers(inputs, (*widths, 1))
        self.dropout = nn.Dropout(dropout)

    def forward(self, inputs: Tensor) -> Tensor:
        for layer in self.layers[:-1]:
            inputs = self.dropout(torch.relu(layer(inputs)))
        return self.layers[-1](inputs)[:, 0]


class DLRM(nn.Module):
    """The whole model.

    `vectors` below stands for F vectors of dimension d per row: the bottom MLP's output first, then the embedding of
    every single-valued feature, then of every bag, in the specification's order.
    """

    def __init__(
        self, specification: Specification, rows: dict[str, int], shape: DlrmShape, device: str = "cpu"
    ) -> None:
        """`rows` per table; `device` "meta" leaves the tables to be allocated by whoever shards them."""
        super().__init__()
        dimension = specification.dimension
        self.names = [one.name for one in specification.table_features]
        self.embeddings = EmbeddingBagCollection(table_configs(specification, rows), device=torch.device(device))
        self.dense = DenseArch(len(specification.dense), (*shape.bottom, dimension))
        vectors = 1 + len(self.names)
        self.over = OverArch(dimension + vectors * (vectors - 1) // 2, shape.top, shape.dropout)
        self.position = nn.Embedding(specification.positions + 1, 1)
        nn.init.zeros_(self.position.weight)

    def forward(self, dense: Tensor, bags: KeyedJaggedTensor, position: Tensor) -> Tensor:
        """dense float32 [B, D], bags of B rows, position int64 [B] (position bias rows) -> logits float32 [B]."""
        mixed = self.dense(dense)
        embedded = self.embeddings(bags)
        vectors = torch.stack([mixed, *(embedded[name] for name in self.names)], dim=1)
        return self.over(torch.cat([mixed, trained_interactions(vectors)], dim=1)) + self.position(position)[:, 0]


def table_configs(specification: Specification, rows: dict[str, int]) -> list[EmbeddingBagConfig]:
    """One table per vocabulary; the bags average, so that a long history weighs no more than a short one."""
    return [
        EmbeddingBagConfig(
            name=table,
            embedding_dim=specification.dimension,
            num_embeddings=rows[table],
            feature_names=[one.name for one in specification.table_features if one.table == table],
            pooling=PoolingType.MEAN,
            init_fn=_small,
        )
        for table in specification.tables
    ]


def _small(weight: Tensor) -> Tensor:
    return nn.init.normal_(weight, std=0.05)


def _layers(inputs: int, widths: Sequence[int]) -> nn.ModuleList:
    return nn.ModuleList(nn.Linear(before, after) for before, after in pairwise([inputs, *widths]))


def tensors_of(
    specification: Specification, examples: Examples, rows: NDArray[np.int64]
) -> tuple[Tensor, KeyedJaggedTensor, Tensor]:
    """A batch as the model takes it: dense [B, D], bags of B rows, position rows int64 [B]."""
    batch = examples.batch(rows)
    values, lengths = [batch.single.T.ravel()], [np.ones(batch.single.size, np.int32)]
    for bag in batch.bags:
        there = bag != NO_ROW
        values.append(bag[there])
        lengths.append(there.sum(axis=1, dtype=np.int32))
    bags = KeyedJaggedTensor(
        keys=[one.name for one in specification.table_features],
        values=torch.from_numpy(np.concatenate(values).astype(np.int64)),
        lengths=torch.from_numpy(np.concatenate(lengths)),
    )
    position = torch.from_numpy(row_of_position(batch.position, specification.positions))
    return torch.from_numpy(batch.dense), bags, position
