"""DCN (Wang et al. 2017) and DCNv2 (Wang et al. 2021): cross layers beside a deep network, over DLRM's inputs."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torchrec import KeyedJaggedTensor
from torchrec.modules.crossnet import CrossNet, VectorCrossNet

from ranker.features.specification import Specification
from ranker.networks.dlrm import Network, OverArch, Standardised, table_configs, tables_of
from ranker.networks.layers import BatchNorm, Lookups
from ranker.networks.shape import DlrmShape


class DCN(Network):
    """The standardised dense features and all embeddings, one vector x per row, B x n, go both ways:

    - cross layers: x_(l+1) = x_0 (x_l . w_l) + b_l + x_l, or with `matrix` (DCNv2) x_0 * (W_l x_l + b_l) + x_l;
    - the deep network: the shape's `top` widths. There is no bottom MLP.

    A linear layer over both results gives the logit (the parallel structure of the DCNv2 paper, its figure 1b). Tables
    of different dimensions need no projection here: the vectors only stand side by side.
    """

    def __init__(
        self,
        specification: Specification,
        rows: dict[str, int],
        shape: DlrmShape,
        device: str = "cpu",
        matrix: bool = False,
    ) -> None:
        """As `DLRM`."""
        super().__init__()
        self.lookups = Lookups(specification)
        self.embeddings = tables_of(specification, table_configs(specification, rows, shape), device)
        self.dense = Standardised(len(specification.dense))
        widths_of_ids = [specification.dimension_of(one.table) for one in specification.table_features]
        inputs = len(specification.dense) + sum(widths_of_ids)
        self.cross = (CrossNet if matrix else VectorCrossNet)(inputs, shape.cross_layers)
        self.deep = _deep(inputs, shape.top, shape)
        self.over = OverArch(inputs + (shape.top[-1] if shape.top else inputs), (), shape)
        self.position = nn.Embedding(specification.positions + 1, 1)
        nn.init.zeros_(self.position.weight)

    def forward(self, dense: Tensor, bags: KeyedJaggedTensor, position: Tensor) -> Tensor:
        """dense float32 [B, D], bags of B rows, position int64 [B] (position bias rows) -> logits float32 [B]."""
        inputs = torch.cat([self.dense(dense), *self.lookups.of(self.embeddings, bags)], dim=1)
        both = torch.cat([self.cross(inputs), self.deep(inputs)], dim=1)
        return (self.over(both) + self.position(position))[:, 0]


def _deep(inputs: int, widths: Sequence[int], shape: DlrmShape) -> nn.Sequential:
    layers: list[nn.Module] = []
    for width in widths:
        layers.append(nn.Linear(inputs, width))
        if shape.batch_norm:
            layers.append(BatchNorm(width))
        layers += [nn.Sigmoid() if shape.activation == "sigmoid" else nn.ReLU(), nn.Dropout(shape.dropout)]
        inputs = width
    return nn.Sequential(*layers)
