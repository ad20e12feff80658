"""Weight decay of embedding tables that really applies: every row that a step read shrinks once, after the step.

fbgemm's fused kernels take a weight decay and, on CPUs, ignore it without a word for a table that one feature reads. A
decay of all rows at every step would touch tables of millions of rows for the few that a batch reads. So the decay is
decoupled from the gradient (Loshchilov and Hutter, arXiv 1711.05101, algorithm 2) and lazy: with learning rate r and
decay w, the rows that the step looked up are multiplied by 1 - r w, all others stay as they are.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.distributed._shard.sharded_tensor import ShardedTensor
from torchrec import KeyedJaggedTensor

from ranker.errors import RankerError
from ranker.features.specification import Specification

TABLE_KEY = "embeddings.embedding_bags.{}.weight"
"""The name of a table's weight in a network's state."""


class _Shard(NamedTuple):
    """Part of a table that this process holds: rows `first` .. of all tables' rows numbered through, float32 [n, d]."""

    first: int
    weight: Tensor


class TableDecay:
    """Shrinks the rows of a network's tables. Holds the tensors themselves, sharded or not; call it after each step."""

    def __init__(
        self,
        specification: Specification,
        state: dict[str, Tensor | ShardedTensor],
        decay: float,
        gather: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        """`state`: the weights, by the names of the unsharded network.

        `gather`: int64 [n] of every process -> all of them, on each process alike; None for one process.
        """
        self._decay, self._gather = decay, gather
        self._shards: list[_Shard] = []
        self._offsets: dict[str, int] = {}
        first = 0
        for table in specification.tables:
            weight = state[TABLE_KEY.format(table)]
            self._offsets |= {one.name: first for one in specification.table_features if one.table == table}
            self._shards += _shards(weight, first)
            first += (weight.metadata().size if isinstance(weight, ShardedTensor) else weight.shape)[0]

    @torch.no_grad()
    def apply(self, bags: KeyedJaggedTensor, learning_rate: float) -> None:
        """After the step that read `bags`.

        Raises:
            RankerError: learning rate times decay is 1 or more, so that nothing would be left of a row.
        """
        if not self._decay:
            return
        kept = 1 - learning_rate * self._decay
        if kept <= 0:
            raise RankerError(
                f"a weight decay of {self._decay:g} at a learning rate of {learning_rate:g} leaves nothing of a row; "
                "expected their product below 1"
            )
        read = torch.unique(torch.cat([bags[name].values().long() + first for name, first in self._offsets.items()]))
        if self._gather is not None:
            read = torch.unique(self._gather(read))
        for shard in self._shards:
            begin, end = torch.searchsorted(read, read.new_tensor([shard.first, shard.first + len(shard.weight)]))
            rows = read[int(begin) : int(end)] - shard.first
            shard.weight.index_copy_(0, rows, shard.weight[rows] * kept)


def _shards(weight: Tensor | ShardedTensor, first: int) -> list[_Shard]:
    if isinstance(weight, ShardedTensor):
        return [_Shard(first + one.metadata.shard_offsets[0], one.tensor) for one in weight.local_shards()]
    return [_Shard(first, weight.detach())]
