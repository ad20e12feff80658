"""DLRM for one request and n candidates, for prediction only: what is exported.

What a compiled package holds of a model is its shape. The tables are inputs: they stay memory-mapped files whose pages
the gateway's workers share. All other weights are constants that are set when the package is loaded. So one package
serves every model of the same shape, and a retrained ranker needs no compilation.
"""

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from ranker.errors import RankerError
from ranker.features.specification import Specification
from ranker.networks.interaction import interactions
from ranker.networks.layers import activated, through_mlps
from ranker.networks.shape import DlrmShape


@dataclass(frozen=True)
class Wiring:
    """Which table each feature reads, and how many layers there are: everything fixed when compiling.

    Attributes:
        request, item, bags: for each feature, the place of its table in the list of tables.
        bag_lengths: ids per bag.
        dense: number of dense features. dimension: of the vectors that come from tables.
        own_dimensions: for each table its own dimension, where that is a smaller one, or 0.
        bottom, top: widths of the hidden layers.
        first_order, dense_to_top, itself, interaction, activation, members, sparse, heads: as in `DlrmShape`.
        int8: the tables are quantised by row (ranker/networks/quantisation.py).
    """

    request: tuple[int, ...]
    item: tuple[int, ...]
    bags: tuple[int, ...]
    bag_lengths: tuple[int, ...]
    dense: int
    dimension: int
    own_dimensions: tuple[int, ...]
    bottom: tuple[int, ...]
    top: tuple[int, ...]
    first_order: int = 0
    dense_to_top: bool = False
    itself: bool = False
    interaction: str = "dot"
    activation: str = "relu"
    int8: bool = False
    members: int = 1
    sparse: tuple[int, ...] = ()
    heads: int = 1

    @classmethod
    def of(cls, specification: Specification, shape: DlrmShape, int8: bool = False, network: str = "dlrm") -> "Wiring":
        """Of a network by its name in ranker/networks/registry.py, and its shape.

        Batch norm and the pooling of bags leave no trace here: the former becomes part of the weights
        (`Parameters.of`), the latter of the bags' weights.

        Raises:
            RankerError: the serving graph lacks this network.
        """
        if network != "dlrm":
            raise RankerError(f"network {network} cannot be served; expected dlrm, the one that has a serving graph")
        place = {name: k for k, name in enumerate(specification.tables)}
        mixed = specification.mixed
        return cls(
            request=tuple(place[one.table] for one in specification.request),
            item=tuple(place[one.table] for one in specification.item),
            bags=tuple(place[one.table] for one in specification.bags),
            bag_lengths=tuple(one.length for one in specification.bags),
            dense=len(specification.dense),
            dimension=specification.dimension,
            own_dimensions=tuple(specification.dimension_of(name) if name in mixed else 0 for name in place),
            bottom=shape.bottom,
            top=shape.top,
            first_order=shape.first_order,
            dense_to_top=shape.dense_to_top,
            itself=shape.itself,
            interaction=shape.interaction,
            activation=shape.activation,
            int8=int8,
            members=shape.members,
            sparse=shape.sparse,
            heads=shape.heads,
        )

    @property
    def interacting(self) -> int:
        """Dimension of the vectors that interact."""
        return self.dimension - self.first_order

    @property
    def vectors(self) -> int:
        """How many there are: the bottom MLP's and one for each feature with a table."""
        return 1 + len(self.request) + len(self.item) + len(self.bags)

    @property
    def shape(self) -> DlrmShape:
        """As far as a width depends on it."""
        return DlrmShape.model_construct(
            interaction=self.interaction, itself=self.itself, dense_to_top=self.dense_to_top
        )

    @property
    def weights(self) -> dict[str, tuple[tuple[int, ...], ...]]:
        """The shapes of `ServingGraph`'s weights: those called bottom_0, bottom_1 and so on under "bottom".

        Of several members the weights of each stand under names of their own: bottom, bottom1, bottom2 and so on.
        """
        top_inputs = self.shape.interaction_width(self.vectors, self.interacting, self.dense)
        bottom, top = (self.dense, *self.bottom, self.interacting), (top_inputs, *self.top, self.heads)
        mlps = {
            name: tuple(shape for before, after in pairwise(widths) for shape in ((after, before), (after,)))
            for name, widths in (("bottom", bottom), ("top", top))
        }
        features, through = self.vectors - 1, (self.interacting, *self.sparse, self.interacting)
        of_one = {
            "scaling": ((self.dense,), (self.dense,)),
            **mlps,
            "direct": ((self.heads, self.dense),) if self.dense_to_top else (),
            "sparse": tuple(
                shape
                for before, after in pairwise(through if self.sparse else ())
                for shape in ((features, after, before), (features, after))
            ),
        }
        of_members = {
            f"{name}{number_of(member)}": shapes for member in range(self.members) for name, shapes in of_one.items()
        }
        projections = tuple((self.dimension, own) for own in self.own_dimensions if own)
        calibration = (3,) if self.heads == 1 else (self.heads, 4)
        return {**of_members, "calibration": (calibration,), "projections": projections}

    @property
    def tables(self) -> tuple[int, ...]:
        """The columns of each table: its dimension, for every member."""
        return tuple((own or self.dimension) * self.members for own in self.own_dimensions)


def number_of(member: int) -> str:
    return str(member) if member else ""


class ServingGraph(nn.Module):
    """Computes the same logits as `DLRM` (or `Members`), calibrated, as probabilities; of several heads their sum, each
    times its share of the score.

    Its weights, `ranker.serving.weights.weights_of` a trained model:

    - calibration: Platt slope, shift, and the position bias added to the logit, float32 [3]; of several heads a row of
      each with its share of the score beside them, float32 [heads, 4];
    - of each member scaling: mean and scale of the dense features, float32 [D] each;
    - bottom, top: weight and bias of each layer, in turn;
    - sparse: weights and biases of the embeddings' MLPs, layer by layer, if there are any;
    - direct: with `dense_to_top` the weights [1, D] of the dense features in the logit;
    - projections: for each table of its own dimension, float32 [d, own dimension].
    """

    def __init__(self, wiring: Wiring, onednn: bool = True) -> None:
        """`onednn`: run large layers in oneDNN, where torch has it; without, the graph is plain torch."""
        super().__init__()
        self.wiring = wiring
        self._onednn = onednn and torch.backends.mkldnn.is_available()
        for name, shapes in wiring.weights.items():
            for k, shape in enumerate(shapes):
                # Never equal entries: a compiler could take those for a number that it knows.
                self.register_buffer(f"{name}_{k}", torch.rand(shape))

    def _weights(self, name: str) -> list[Tensor]:
        return [self.get_buffer(f"{name}_{k}") for k in range(len(self.wiring.weights[name]))]

    def forward(
        self,
        dense: Tensor,
        item_rows: Tensor,
        request_rows: Tensor,
        bag_rows: list[Tensor],
        bag_weights: list[Tensor],
        tables: list[Tensor],
        scales: list[Tensor],
    ) -> Tensor:
        """n candidates of one request -> their probabilities (or scores), float32 [n].

        Args:
            dense: float32 [n, D].
            item_rows: int64 [item features, n]. request_rows: int64 [request features].
            bag_rows: per bag int64 [length]; bag_weights: per bag float32 [length], 0 where padded.
            tables: float32 [rows, its dimension] each, or uint8 if they are quantised.
            scales: float32 [rows, 2] of each quantised table, else nothing.
        """
        wiring, count = self.wiring, dense.shape[0]
        (calibration,) = self._weights("calibration")
        of_tables = self._looked_up(item_rows, request_rows, bag_rows, bag_weights, tables, scales)
        ids = [one.expand(count, -1) for one in of_tables]
        if wiring.members == 1:
            logit = self._logit("", dense, ids)
        else:
            parts = [one.split(wiring.dimension, dim=1) for one in ids]
            logits = [
                self._logit(number_of(member), dense, [part[member] for part in parts])
                for member in range(wiring.members)
            ]
            logit = torch.stack(logits).mean(dim=0)
        if wiring.heads > 1:
            slope, shift, bias, share = calibration.T
            return (share * torch.sigmoid(slope * (logit + bias) + shift)).sum(dim=1)
        return torch.sigmoid(calibration[0] * (logit + calibration[2]) + calibration[1])

    def _logit(self, member: str, dense: Tensor, ids: list[Tensor]) -> Tensor:
        """Of one member, without the position bias: dense float32 [n, D], embeddings float32 [n, d] -> float32 [n], or
        of several heads [n, heads]."""
        wiring = self.wiring
        mean, scale = self._weights(f"scaling{member}")
        bottom, top = self._weights(f"bottom{member}"), self._weights(f"top{member}")
        standardised = (dense - mean) * scale
        mixed = standardised
        for weight, bias in zip(bottom[::2], bottom[1::2], strict=True):
            mixed = self._hidden(mixed, weight, bias)
        vectors = torch.stack([mixed, *(one[:, : wiring.interacting] for one in ids)], dim=1)
        if wiring.sparse:
            mlps = self._weights(f"sparse{member}")
            passed = through_mlps(vectors[:, 1:], mlps[::2], mlps[1::2], wiring.activation)
            vectors = torch.cat([vectors[:, :1], passed], dim=1)
        parts = [vectors.flatten(1)] if wiring.interaction == "cat" else [mixed, interactions(vectors, wiring.itself)]
        hidden = torch.cat([*parts, standardised] if wiring.dense_to_top else parts, dim=1)
        for weight, bias in zip(top[:-2:2], top[1:-2:2], strict=True):
            hidden = self._hidden(hidden, weight, bias)
        logit = self._of_heads(linear(hidden, top[-2], top[-1]))
        if wiring.first_order and ids:
            own = torch.stack([one[:, wiring.interacting :] for one in ids], dim=1).sum(dim=(1, 2))
            logit = logit + (own if wiring.heads == 1 else own[:, None])
        if wiring.dense_to_top:
            logit = logit + self._of_heads(linear(standardised, self._weights(f"direct{member}")[0]))
        return logit

    def _of_heads(self, logits: Tensor) -> Tensor:
        """[n, heads], of one head [n]."""
        return logits if self.wiring.heads > 1 else logits[:, 0]

    def _hidden(self, inputs: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """A hidden layer. A large one goes through oneDNN: see ranker/training/fast_linear.py."""
        if self._onednn and weight.numel() >= _LARGE:
            return torch.ops.mkldnn._linear_pointwise(inputs, weight, bias, self.wiring.activation, [], "")
        return activated(linear(inputs, weight, bias), self.wiring.activation)

    def _looked_up(
        self,
        item_rows: Tensor,
        request_rows: Tensor,
        bag_rows: list[Tensor],
        bag_weights: list[Tensor],
        tables: list[Tensor],
        scales: list[Tensor],
    ) -> list[Tensor]:
        """The vector of every feature in the specification's order: float32 [n, d], or [1, d] of the request."""
        wiring = self.wiring
        of_table = iter(self._weights("projections"))
        projection = [next(of_table) if own else None for own in wiring.own_dimensions]

        def rows_of(table: int, rows: Tensor) -> Tensor:
            values = tables[table][rows]
            if not wiring.int8:
                return values
            scale_and_bias = scales[table][rows]
            return values * scale_and_bias[:, :1] + scale_and_bias[:, 1:]

        found = [(table, rows_of(table, request_rows[k : k + 1])) for k, table in enumerate(wiring.request)]
        found += [(table, rows_of(table, item_rows[k])) for k, table in enumerate(wiring.item)]
        for k, table in enumerate(wiring.bags):
            weighted = rows_of(table, bag_rows[k]) * bag_weights[k][:, None]
            found.append((table, weighted.sum(dim=0, keepdim=True)))
        return [one if (matrix := projection[table]) is None else linear(one, matrix) for table, one in found]


_LARGE = 1 << 14
"""Entries of a layer's weight from which oneDNN is faster than torch's own product: measured for 20 to 200 candidates
on an AMD EPYC, where a call of oneDNN costs 9 microseconds more, and a product half."""
