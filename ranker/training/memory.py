"""What a training will take of memory, told before it begins: `tandem ranker fit --dry-run`."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from rich.table import Table
from torchrec.distributed.types import ShardingPlan

from data.console import table
from ranker.networks.dlrm import Network
from ranker.training.launch import ProcessContext
from ranker.training.model import planned_network
from ranker.training.plan import Placement, ShardingConstraints, placements
from ranker.training.settings import TrainingSettings
from ranker.training.source import Source

_FLOAT = torch.float32.itemsize
_SUMS = {"sgd": 0, "adagrad": 1, "adamw": 2}
"""Numbers that an optimizer keeps for each weight."""

_SCALES = 2 * _FLOAT
"""Bytes of a row's scale and bias, where tables are served in 8 bits."""


@dataclass(frozen=True)
class ProcessMemory:
    """Bytes in one process: of its tables' weights, of their optimizer, and of all other weights with gradients and
    optimizer. The rows of a step and torch itself (some 400 MB) come on top.
    """

    tables: int
    optimizer: int
    layers: int

    @property
    def total(self) -> int:
        return self.tables + self.optimizer + self.layers


@dataclass(frozen=True)
class MemoryPlan:
    """Of a whole training.

    Attributes:
        parameters: of the network, tables included.
        processes: one for each.
        served: bytes of the tables as they can be served, by the form of their entries.
        placements: where the tables will be.
    """

    parameters: int
    processes: tuple[ProcessMemory, ...]
    served: dict[str, int]
    placements: list[Placement]


def memory_plan(
    source: Source, settings: TrainingSettings, constraints: ShardingConstraints, processes: int
) -> MemoryPlan:
    """Nothing is allocated. With `patience` the best weights are held beside the present ones.

    Raises:
        RankerError: a network that cannot be, or no plan that fits.
    """
    process = ProcessContext(0, processes, 0, processes, torch.device("cpu"))
    network, _, plan = planned_network(source.specification, source.table_rows, settings, process, constraints)
    weights = sum(one.numel() for name, one in network.named_parameters() if not name.startswith("embeddings."))
    copies = 2 if settings.patience else 1
    layers = weights * _FLOAT * (copies + 1 + _SUMS[settings.mlps.optimizer])
    entries, rows = [0] * processes, [0] * processes
    for rank, own_rows, own_columns in _shards(plan, network, processes):
        entries[rank] += own_rows * own_columns
        rows[rank] += own_rows
    rowwise = settings.tables.optimizer == "rowwise_adagrad"
    kept = rows if rowwise else [one * _SUMS[settings.tables.optimizer] for one in entries]
    configs = network.embeddings.embedding_bag_configs()
    whole, all_rows = (
        sum(one.num_embeddings * one.embedding_dim for one in configs),
        sum(one.num_embeddings for one in configs),
    )
    return MemoryPlan(
        parameters=weights + whole,
        processes=tuple(
            ProcessMemory(own * _FLOAT * copies, sums * _FLOAT, layers) for own, sums in zip(entries, kept, strict=True)
        ),
        served={"float32": whole * _FLOAT, "int8": whole + all_rows * _SCALES},
        placements=placements(plan, network),
    )


def _shards(plan: ShardingPlan, network: Network, processes: int) -> Iterator[tuple[int, int, int]]:
    """Process, rows and columns of every shard."""
    sharded = plan.plan["embeddings"]
    for config in network.embeddings.embedding_bag_configs():
        part = sharded[config.name]
        if part.sharding_spec is None:  # data_parallel
            yield from ((rank, config.num_embeddings, config.embedding_dim) for rank in range(processes))
            continue
        for shard in part.sharding_spec.shards:
            yield shard.placement.rank(), *shard.shard_sizes


def memory_table(found: MemoryPlan) -> Table:
    """For people."""
    made = table(
        f"{found.parameters:,} parameters: memory in MB", "process", "tables", "their optimizer", "rest", "sum"
    )
    for rank, one in enumerate(found.processes):
        made.add_row(str(rank), *(f"{size / 1e6:,.1f}" for size in (one.tables, one.optimizer, one.layers, one.total)))
    made.add_section()
    for kind, size in found.served.items():
        made.add_row(f"served, {kind}", f"{size / 1e6:,.1f}", "", "", "")
    return made
