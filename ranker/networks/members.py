"""Several DLRMs in one: they read the same rows, each its own columns of every table, and the logit is their mean.

Each is trained by its own loss, so that they go on differing, as the members of an ensemble do; averaging takes away a
part of what a network of few rows owes to its seed. Several embeddings of one id follow Guo et al. (2024, arXiv
2310.04400), the mean of jointly trained networks TabM (Gorishniy et al. 2025, arXiv 2410.24210). One lookup per id
serves all members.
"""

from dataclasses import replace
from functools import partial

import torch
from torch import Tensor, nn
from torchrec import KeyedJaggedTensor

from ranker.errors import RankerError
from ranker.features.specification import Specification
from ranker.networks.dlrm import DlrmBody, Network, Standardised, draw, table_configs, tables_of
from ranker.networks.layers import Lookups
from ranker.networks.shape import DlrmShape


class Members(Network):
    """`shape.members` DLRMs. A table has that many times the specification's dimension in columns."""

    def __init__(
        self, specification: Specification, rows: dict[str, int], shape: DlrmShape, device: str = "cpu"
    ) -> None:
        """As `DLRM`. Raises RankerError for tables of different dimensions."""
        super().__init__()
        if specification.mixed:
            raise RankerError(
                f"{shape.members} members: expected tables of one dimension, but {specification.mixed[0]} has its own"
            )
        self.lookups = Lookups(specification)
        self.columns = specification.dimension
        configs = [
            replace(one, embedding_dim=shape.members * self.columns, init_fn=partial(_draw_members, shape=shape))
            for one in table_configs(specification, rows, shape)
        ]
        self.embeddings = tables_of(specification, configs, device)
        self.members = nn.ModuleList(DlrmBody(specification, shape) for _ in range(shape.members))

    @property
    def dense(self) -> Standardised:  # type: ignore[override]
        return self.standardising[0]

    @property
    def standardising(self) -> list[Standardised]:
        return [one.dense for one in self.members]  # type: ignore[misc]

    def forward(self, dense: Tensor, bags: KeyedJaggedTensor, position: Tensor) -> Tensor:
        """As `DLRM`: logits float32 [B]; while training float32 [members, B], each for a loss of its own."""
        embedded = self.lookups.of(self.embeddings, bags)
        parts = [one.split(self.columns, dim=1) for one in embedded]
        logits = torch.stack(
            [
                member.logits(dense, [part[number] for part in parts], position)[:, 0]  # type: ignore[operator]
                for number, member in enumerate(self.members)
            ]
        )
        return logits if self.training else logits.mean(dim=0)


def _draw_members(weight: Tensor, shape: DlrmShape) -> Tensor:
    """Every member's columns as a table of its own begins."""
    for columns in weight.data.chunk(shape.members, dim=1):
        draw(columns, shape.deviation, shape.first_order)
    return weight
