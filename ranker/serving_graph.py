"""DLRM for one request and n candidates, as a pure function of inputs, parameters and tables: what is exported.

Every weight is an input. So one compiled package serves every model of the same shape, and a retrained ranker needs no
compilation; and the tables stay memory-mapped files whose pages the gateway's workers share.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from ranker.shape import DlrmShape, interactions
from ranker.specification import RankerError, Specification


@dataclass(frozen=True)
class Wiring:
    """Which table each feature reads, and how many layers there are: everything fixed when compiling.

    Attributes:
        request, item, bags: for each feature, the place of its table in the list of tables.
        bag_lengths: ids per bag.
        dense: number of dense features. dimension: of the embeddings.
        bottom, top: widths of the hidden layers.
    """

    request: tuple[int, ...]
    item: tuple[int, ...]
    bags: tuple[int, ...]
    bag_lengths: tuple[int, ...]
    dense: int
    dimension: int
    bottom: tuple[int, ...]
    top: tuple[int, ...]

    @classmethod
    def of(cls, specification: Specification, shape: DlrmShape) -> "Wiring":
        if not shape.plain:
            raise RankerError(
                "a DLRM with options (first-order columns, dense features to the top MLP, other interactions, "
                "sigmoids, batch norm) cannot be exported yet; expected the paper's plain network"
            )
        if specification.mixed or any(bag.pooling == "sum" for bag in specification.bags):
            raise RankerError(
                "tables of their own dimension and bags that are added up cannot be exported yet; expected one "
                "dimension and pooling by the mean"
            )
        place = {name: k for k, name in enumerate(specification.tables)}
        return cls(
            request=tuple(place[one.table] for one in specification.request),
            item=tuple(place[one.table] for one in specification.item),
            bags=tuple(place[one.table] for one in specification.bags),
            bag_lengths=tuple(one.length for one in specification.bags),
            dense=len(specification.dense),
            dimension=specification.dimension,
            bottom=shape.bottom,
            top=shape.top,
        )


class ServingGraph(nn.Module):
    """Holds no parameters; computes the same logits as `DLRM`, calibrated, as probabilities."""

    def __init__(self, wiring: Wiring) -> None:
        super().__init__()
        self.wiring = wiring

    def forward(
        self,
        dense: Tensor,
        item_rows: Tensor,
        request_rows: Tensor,
        bag_rows: list[Tensor],
        bag_weights: list[Tensor],
        standardise: Tensor,
        calibrate: Tensor,
        bottom: list[Tensor],
        top: list[Tensor],
        tables: list[Tensor],
    ) -> Tensor:
        """n candidates of one request -> their probabilities, float32 [n].

        Args:
            dense: float32 [n, D].
            item_rows: int64 [item features, n]. request_rows: int64 [request features].
            bag_rows: per bag int64 [length]; bag_weights: per bag float32 [length], 1 / ids of the bag, 0 where padded.
            standardise: float32 [2, D], mean and scale.
            calibrate: float32 [3]: Platt slope, shift, and the position bias added to the logit.
            bottom, top: weight and bias of each layer, in turn.
            tables: float32 [rows, d] each.
        """
        wiring, count = self.wiring, dense.shape[0]
        mixed = (dense - standardise[0]) * standardise[1]
        for weight, bias in zip(bottom[::2], bottom[1::2], strict=True):
            mixed = torch.relu(linear(mixed, weight, bias))
        vectors = [mixed]
        for k, table in enumerate(wiring.request):
            vectors.append(tables[table][request_rows[k : k + 1]].expand(count, -1))
        for k, table in enumerate(wiring.item):
            vectors.append(tables[table][item_rows[k]])
        for k, table in enumerate(wiring.bags):
            mean = (tables[table][bag_rows[k]] * bag_weights[k][:, None]).sum(dim=0, keepdim=True)
            vectors.append(mean.expand(count, -1))
        hidden = torch.cat([mixed, interactions(torch.stack(vectors, dim=1))], dim=1)
        for weight, bias in zip(top[:-2:2], top[1:-2:2], strict=True):
            hidden = torch.relu(linear(hidden, weight, bias))
        logit = linear(hidden, top[-2], top[-1])[:, 0] + calibrate[2]
        return torch.sigmoid(calibrate[0] * logit + calibrate[1])


@dataclass(frozen=True)
class Parameters:
    """The weights of a model as the graph takes them, tables apart."""

    standardise: Tensor
    calibrate: Tensor
    bottom: list[Tensor]
    top: list[Tensor]

    @classmethod
    def of(cls, state: dict[str, Tensor], slope: float, shift: float, position_row: int) -> "Parameters":
        """From the state of a `DLRM`, tables apart.

        `position_row`: the row of the position bias that is used for every candidate when serving.

        Raises:
            KeyError, IndexError: the state is not that of a DLRM, or has no such position.
        """
        layers = {
            arch: [
                state[f"{arch}.layers.{k}.{part}"]
                for k in range(sum(name.startswith(f"{arch}.layers.") for name in state) // 2)
                for part in ("weight", "bias")
            ]
            for arch in ("dense", "over")
        }
        bias = float(state["position.weight"][position_row, 0])
        return cls(
            standardise=torch.stack([state["dense.mean"], state["dense.scale"]]),
            calibrate=torch.tensor([slope, shift, bias]),
            bottom=layers["dense"],
            top=layers["over"],
        )
