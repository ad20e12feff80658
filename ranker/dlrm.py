"""DLRM (arXiv 1906.00091, section 2.2): bottom MLP, embedding bags, dot interactions, top MLP. Logits out; no loss."""

from collections.abc import Sequence
from functools import partial
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torchrec import EmbeddingBagCollection, EmbeddingBagConfig, KeyedJaggedTensor, PoolingType

from ranker.examples import NO_ROW, Examples, row_of_position
from ranker.interaction import trained_interactions
from ranker.shape import DlrmShape, interactions
from ranker.specification import RankerError, Specification


class Standardised(nn.Module):
    """Dense features less their mean, times their scale (1 / deviation; 0 if it does not vary): B x D -> B x D."""

    mean: Tensor
    scale: Tensor

    def __init__(self, dense: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(dense))
        self.register_buffer("scale", torch.ones(dense))

    @property
    def first_layer(self) -> nn.Linear | None:
        """What reads them first, if they have a network of their own."""
        return None

    def standardised(self, dense: Tensor) -> Tensor:
        return (dense - self.mean) * self.scale

    def forward(self, dense: Tensor) -> Tensor:
        return self.standardised(dense)


class DenseArch(Standardised):
    """Standardise and mix the dense features: B x D -> B x d."""

    def __init__(self, dense: int, widths: Sequence[int]) -> None:
        super().__init__(dense)
        self.layers = _layers(dense, widths)

    @property
    def first_layer(self) -> nn.Linear:
        layer = self.layers[0]
        assert isinstance(layer, nn.Linear)
        return layer

    def forward(self, dense: Tensor) -> Tensor:
        mixed = self.standardised(dense)
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


class Network(nn.Module):
    """What every network that can be trained has (ranker/networks/registry.py)."""

    embeddings: EmbeddingBagCollection
    dense: Standardised


class DLRM(Network):
    """The whole model.

    `vectors` below stands for F vectors of dimension d per row: the bottom MLP's output first, then the embedding of
    every single-valued feature, then of every bag, in the specification's order.
    """

    def __init__(
        self, specification: Specification, rows: dict[str, int], shape: DlrmShape, device: str = "cpu"
    ) -> None:
        """`rows` per table; `device` "meta" leaves the tables to be allocated by whoever shards them."""
        super().__init__()
        if not 0 <= shape.first_order < specification.dimension:
            raise RankerError(
                f"{shape.first_order} first-order columns: expected fewer than the {specification.dimension} of a table"
            )
        self.names = [one.name for one in specification.table_features]
        self.shape, self.interacting = shape, specification.dimension - shape.first_order
        self.embeddings = EmbeddingBagCollection(table_configs(specification, rows, shape), device=torch.device(device))
        dense = len(specification.dense)
        self.dense = DenseArch(dense, (*shape.bottom, self.interacting))
        vectors = 1 + len(self.names)
        pairs = vectors * (vectors + 1) // 2 if shape.itself else vectors * (vectors - 1) // 2
        beside = dense if shape.dense_to_top else 0
        self.over = OverArch(self.interacting + pairs + beside, shape.top, shape.dropout)
        self.linear = nn.Linear(dense, 1, bias=False) if shape.dense_to_top else None
        self.position = nn.Embedding(specification.positions + 1, 1)
        nn.init.zeros_(self.position.weight)

    def forward(self, dense: Tensor, bags: KeyedJaggedTensor, position: Tensor) -> Tensor:
        """dense float32 [B, D], bags of B rows, position int64 [B] (position bias rows) -> logits float32 [B]."""
        mixed = self.dense(dense)
        embedded = self.embeddings(bags)
        single = [embedded[name] for name in self.names]
        logit = self.position(position)[:, 0]
        if self.shape.first_order:
            ids = torch.stack(single, dim=1)
            logit = logit + ids[:, :, self.interacting :].sum(dim=(1, 2))
            vectors = torch.cat([mixed[:, None], ids[:, :, : self.interacting]], dim=1)
        else:
            vectors = torch.stack([mixed, *single], dim=1)
        parts = [mixed, interactions(vectors, True) if self.shape.itself else trained_interactions(vectors)]
        if self.linear is not None:
            standardised = self.dense.standardised(dense)
            parts.append(standardised)
            logit = logit + self.linear(standardised)[:, 0]
        return self.over(torch.cat(parts, dim=1)) + logit


def table_configs(specification: Specification, rows: dict[str, int], shape: DlrmShape) -> list[EmbeddingBagConfig]:
    """One table per vocabulary; the bags average, so that a long history weighs no more than a short one."""
    return [
        EmbeddingBagConfig(
            name=table,
            embedding_dim=specification.dimension,
            num_embeddings=rows[table],
            feature_names=[one.name for one in specification.table_features if one.table == table],
            pooling=PoolingType.MEAN,
            init_fn=partial(_draw, deviation=shape.deviation, first_order=shape.first_order),
        )
        for table in specification.tables
    ]


def _draw(weight: Tensor, deviation: float, first_order: int) -> Tensor:
    """Small and random where vectors interact; a first-order weight begins at 0, so that an unseen id adds nothing."""
    nn.init.normal_(weight, std=deviation)
    if first_order:
        nn.init.zeros_(weight.data[:, -first_order:])
    return weight


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
