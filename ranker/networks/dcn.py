"""DCN (Wang et al. 2017) and DCNv2 (Wang et al. 2021): cross layers beside a deep network, over DLRM's inputs."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torchrec import EmbeddingBagCollection, KeyedJaggedTensor
from torchrec.modules.crossnet import CrossNet, VectorCrossNet

from ranker.dlrm import Network, OverArch, Standardised, table_configs
from ranker.shape import DlrmShape
from ranker.specification import Specification

CROSS_LAYERS = 3


class DCN(Network):
    """The standardised dense features and all embeddings, one vector x per row, B x n, go both ways:

    - cross layers: x_(l+1) = x_0 (x_l . w_l) + b_l + x_l, or with `matrix` (DCNv2) x_0 * (W_l x_l + b_l) + x_l;
    - the deep network: the bottom and top widths of the shape, one after another.

    A linear layer over both results gives the logit (the parallel structure of the DCNv2 paper, its figure 1b).
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
        self.names = [one.name for one in specification.table_features]
        self.embeddings = EmbeddingBagCollection(table_configs(specification, rows, shape), device=torch.device(device))
        self.dense = Standardised(len(specification.dense))
        inputs = len(specification.dense) + specification.dimension * len(self.names)
        self.cross = (CrossNet if matrix else VectorCrossNet)(inputs, CROSS_LAYERS)
        widths = (*shape.bottom, *shape.top)
        self.deep = _deep(inputs, widths, shape.dropout)
        self.over = OverArch(inputs + (widths[-1] if widths else inputs), (), 0.0)
        self.position = nn.Embedding(specification.positions + 1, 1)
        nn.init.zeros_(self.position.weight)

    def forward(self, dense: Tensor, bags: KeyedJaggedTensor, position: Tensor) -> Tensor:
        """dense float32 [B, D], bags of B rows, position int64 [B] (position bias rows) -> logits float32 [B]."""
        embedded = self.embeddings(bags)
        inputs = torch.cat([self.dense(dense), *(embedded[name] for name in self.names)], dim=1)
        both = torch.cat([self.cross(inputs), self.deep(inputs)], dim=1)
        return self.over(both) + self.position(position)[:, 0]


def _deep(inputs: int, widths: Sequence[int], dropout: float) -> nn.Sequential:
    layers: list[nn.Module] = []
    for width in widths:
        layers += [nn.Linear(inputs, width), nn.ReLU(), nn.Dropout(dropout)]
        inputs = width
    return nn.Sequential(*layers)
