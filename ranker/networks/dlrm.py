"""DLRM (arXiv 1906.00091, section 2.2): bottom MLP, embedding bags, dot interactions, top MLP. Logits out; no loss."""

from collections.abc import Sequence
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor, nn
from torchrec import EmbeddingBagCollection, EmbeddingBagConfig, KeyedJaggedTensor, PoolingType

from ranker.errors import RankerError
from ranker.features.specification import Specification
from ranker.networks.interaction import interactions, trained_interactions
from ranker.networks.layers import Lookups, activated, linears, norms, sum_tables, through_mlps
from ranker.networks.shape import DlrmShape


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

    def __init__(self, dense: int, widths: Sequence[int], shape: DlrmShape) -> None:
        super().__init__(dense)
        self.shape = shape
        self.layers, self.norms = linears(dense, widths), norms(widths, shape)

    @property
    def first_layer(self) -> nn.Linear:
        layer = self.layers[0]
        assert isinstance(layer, nn.Linear)
        return layer

    def forward(self, dense: Tensor) -> Tensor:
        mixed = self.standardised(dense)
        for k, layer in enumerate(self.layers):
            mixed = layer(mixed) if self.norms is None else self.norms[k](layer(mixed))
            mixed = activated(mixed, self.shape.activation)
        return mixed


class SparseArch(nn.Module):
    """An MLP of its own for each feature's embedding, B x F x d -> B x F x d; the last layer is linear.

    Layer k holds `weights.<k>`, F x widths[k + 1] x widths[k], and `biases.<k>`, F x widths[k + 1].
    """

    def __init__(self, features: int, dimension: int, shape: DlrmShape) -> None:
        super().__init__()
        self.shape = shape
        widths = (dimension, *shape.sparse, dimension)
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        for before, after in pairwise(widths):
            bound = before**-0.5  # as nn.Linear begins
            self.weights.append(nn.Parameter(torch.empty(features, after, before).uniform_(-bound, bound)))
            self.biases.append(nn.Parameter(torch.empty(features, after).uniform_(-bound, bound)))

    def forward(self, vectors: Tensor) -> Tensor:
        return through_mlps(vectors, [*self.weights], [*self.biases], self.shape.activation)


class OverArch(nn.Module):
    """B x n -> B x heads: the logits. Drop-out after every hidden layer, in training only."""

    def __init__(self, inputs: int, widths: Sequence[int], shape: DlrmShape) -> None:
        super().__init__()
        self.shape = shape
        self.layers, self.norms = linears(inputs, (*widths, shape.heads)), norms(widths, shape)
        self.dropout = nn.Dropout(shape.dropout)

    def forward(self, inputs: Tensor) -> Tensor:
        for k, layer in enumerate(self.layers[:-1]):
            inputs = layer(inputs) if self.norms is None else self.norms[k](layer(inputs))
            inputs = self.dropout(activated(inputs, self.shape.activation))
        logits: Tensor = self.layers[-1](inputs)
        return logits


class Network(nn.Module):
    """What every network that can be trained has (ranker/networks/registry.py)."""

    embeddings: EmbeddingBagCollection
    dense: Standardised

    @property
    def standardising(self) -> list[Standardised]:
        """All that standardise the dense features: `dense`, and its like in a network of several."""
        return [self.dense]


class DlrmBody(nn.Module):
    """DLRM but for its tables: from the dense features and a row's embeddings to the logit.

    `vectors` below stands for F vectors of dimension d per row: the bottom MLP's output first, then the embedding of
    every single-valued feature, then of every bag, in the specification's order. Embeddings of a table with a smaller
    dimension of its own become vectors by the table's projection.
    """

    dense: Standardised

    def __init__(self, specification: Specification, shape: DlrmShape) -> None:
        """Raises RankerError for first-order columns that the tables cannot have."""
        super().__init__()
        if not 0 <= shape.first_order < specification.dimension:
            raise RankerError(
                f"{shape.first_order} first-order columns: expected fewer than the {specification.dimension} of a table"
            )
        if shape.itself and shape.interaction == "cat":
            raise RankerError("vectors side by side (cat) have no products with themselves; expected one of the two")
        if shape.first_order and specification.mixed:
            raise RankerError(
                f"first-order columns: expected tables of one dimension, but {specification.mixed[0]} has its own"
            )
        self.shape, self.interacting = shape, specification.dimension - shape.first_order
        dense = len(specification.dense)
        self.dense = DenseArch(dense, (*shape.bottom, self.interacting), shape)
        vectors = 1 + len(specification.table_features)
        self.over = OverArch(shape.interaction_width(vectors, self.interacting, dense), shape.top, shape)
        self.sparse = SparseArch(vectors - 1, self.interacting, shape) if shape.sparse and vectors > 1 else None
        self.linear = nn.Linear(dense, shape.heads, bias=False) if shape.dense_to_top else None
        self.position = nn.Embedding(specification.positions + 1, shape.heads)
        nn.init.zeros_(self.position.weight)
        self.projections = _projections(specification)
        self._tables = [one.table for one in specification.table_features]

    def logits(self, dense: Tensor, embedded: list[Tensor], position: Tensor) -> Tensor:
        """dense float32 [B, D], an embedding [B, d of its table] per feature, position int64 [B] -> [B, heads]."""
        mixed = self.dense(dense)
        single = self._projected(embedded)
        logit: Tensor = self.position(position)
        if self.shape.first_order or self.sparse is not None:
            ids = torch.stack(single, dim=1)
            logit = logit + ids[:, :, self.interacting :].sum(dim=(1, 2))[:, None]
            ids = ids[:, :, : self.interacting]
            vectors = torch.cat([mixed[:, None], ids if self.sparse is None else self.sparse(ids)], dim=1)
        else:
            vectors = torch.stack([mixed, *single], dim=1)
        parts = self._interacted(mixed, vectors)
        if self.linear is not None:
            standardised = self.dense.standardised(dense)
            parts.append(standardised)
            logit = logit + self.linear(standardised)
        return self.over(torch.cat(parts, dim=1)) + logit

    def _projected(self, embedded: list[Tensor]) -> list[Tensor]:
        """B x d each, whatever the dimensions of their tables."""
        if self.projections is None:
            return embedded
        pairs = zip(embedded, self._tables, strict=True)
        return [self.projections[table](one) if table in self.projections else one for one, table in pairs]

    def _interacted(self, mixed: Tensor, vectors: Tensor) -> list[Tensor]:
        """What the top MLP reads of B x F x d vectors, the first of which is `mixed`."""
        if self.shape.interaction == "cat":
            return [vectors.flatten(1)]
        return [mixed, interactions(vectors, True) if self.shape.itself else trained_interactions(vectors)]


class DLRM(DlrmBody, Network):
    """The whole model."""

    def __init__(
        self, specification: Specification, rows: dict[str, int], shape: DlrmShape, device: str = "cpu"
    ) -> None:
        """`rows` per table; `device` "meta" leaves the tables to be allocated by whoever shards them."""
        super().__init__(specification, shape)
        self.lookups = Lookups(specification)
        self.embeddings = tables_of(specification, table_configs(specification, rows, shape), device)

    def forward(self, dense: Tensor, bags: KeyedJaggedTensor, position: Tensor) -> Tensor:
        """dense float32 [B, D], bags of B rows, position int64 [B] (position bias rows) -> logits float32 [B].

        Of several heads those of the first; while training float32 [heads, B], each for a loss of its own.
        """
        logits = self.of_heads(dense, bags, position)
        return logits.T if self.training and self.shape.heads > 1 else logits[:, 0]

    def of_heads(self, dense: Tensor, bags: KeyedJaggedTensor, position: Tensor) -> Tensor:
        """float32 [B, heads], of the same."""
        return self.logits(dense, self.lookups.of(self.embeddings, bags), position)


def _projections(specification: Specification) -> nn.ModuleDict | None:
    """For each table of its own dimension a matrix d_table x d (Ginart et al., section 3), None if there is none."""
    if not specification.mixed:
        return None
    found = nn.ModuleDict()
    for table in specification.mixed:
        matrix = nn.Linear(specification.dimension_of(table), specification.dimension, bias=False)
        nn.init.xavier_uniform_(matrix.weight)
        found[table] = matrix
    return found


def table_configs(specification: Specification, rows: dict[str, int], shape: DlrmShape) -> list[EmbeddingBagConfig]:
    """One table per vocabulary. Bags average unless told otherwise: a long history weighs no more than a short one."""
    added_up = sum_tables(specification)
    return [
        EmbeddingBagConfig(
            name=table,
            embedding_dim=specification.dimension_of(table),
            num_embeddings=rows[table],
            feature_names=[one.name for one in specification.table_features if one.table == table],
            pooling=PoolingType.SUM if table in added_up else PoolingType.MEAN,
            init_fn=partial(draw, deviation=shape.deviation, first_order=shape.first_order),
        )
        for table in specification.tables
    ]


def tables_of(specification: Specification, configs: list[EmbeddingBagConfig], device: str) -> EmbeddingBagCollection:
    """The tables; where bags have weights (equation 2) every id of a batch comes with one."""
    return EmbeddingBagCollection(configs, is_weighted=specification.weighs, device=torch.device(device))


def draw(weight: Tensor, deviation: float, first_order: int) -> Tensor:
    """Small and random where vectors interact; a first-order weight begins at 0, so that an unseen id adds nothing."""
    nn.init.normal_(weight, std=deviation)
    if first_order:
        nn.init.zeros_(weight.data[:, -first_order:])
    return weight
