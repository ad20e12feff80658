"""Where every embedding table lives: torchrec's planner by cost, within what the user allows per table.

Types: `table_wise` (whole on one process), `row_wise` and `column_wise` (cut over processes), `data_parallel` (a copy
on each; its gradients are as large as the table, so only by request).
"""

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Self, cast

import torch
from pydantic import Field, field_validator
from rich.table import Table
from torch import nn
from torchrec import EmbeddingBagCollection
from torchrec.distributed.embeddingbag import EmbeddingBagCollectionSharder
from torchrec.distributed.planner import EmbeddingShardingPlanner, ParameterConstraints, Topology
from torchrec.distributed.planner.types import PlannerError
from torchrec.distributed.types import ShardingPlan

from data.console import table
from data.settings import Settings, read_settings
from ranker.errors import RankerError
from ranker.training.launch import ProcessContext
from ranker.training.settings import TableSettings

ShardingKind = Literal["table_wise", "row_wise", "column_wise", "data_parallel"]
Kinds = tuple[ShardingKind, ...]


class ShardingConstraints(Settings):
    """What the planner may do: the types allowed, for all tables and for some by name.

    Attributes:
        types: of tables without a line of their own; empty for all but data_parallel.
        tables: by name; one type or several.
        column_width: the least width of a column-wise shard, a multiple of 4.
    """

    types: Kinds = ()
    tables: dict[str, Kinds] = Field(default_factory=dict)
    column_width: Annotated[int, Field(ge=4, multiple_of=4)] = 4

    @field_validator("types", mode="before")
    @classmethod
    def _one_or_several(cls, found: Any) -> Any:
        return (found,) if isinstance(found, str) else found

    @field_validator("tables", mode="before")
    @classmethod
    def _each_one_or_several(cls, found: Any) -> Any:
        if not isinstance(found, dict):
            return found
        return {name: (kinds,) if isinstance(kinds, str) else kinds for name, kinds in found.items()}

    @classmethod
    def read(cls, path: Path) -> Self:
        """Raises RankerError naming the file and the field that is wrong."""
        return read_settings(path, cls, RankerError)

    def check(self, tables: dict[str, int], settings: TableSettings) -> None:
        """Raises RankerError for a table that does not exist, or a type that does not go with the optimizer."""
        for name in self.tables:
            if name not in tables:
                raise RankerError(f"sharding: there is no table {name!r}; expected some of {', '.join(tables)}")
        for where, kinds in (("types", self.types), *self.tables.items()):
            if "column_wise" in kinds and settings.optimizer == "rowwise_adagrad":
                raise RankerError(
                    f"sharding of {where}: column_wise shards would keep a sum of a row's gradients each, so that "
                    "rowwise_adagrad would train another model for every number of processes; expected another type, "
                    "or optimizer adagrad"
                )

    def kinds(self, table: str, settings: TableSettings, world: int) -> Kinds:
        """The types that `table` may have."""
        chosen = self.tables.get(table) or self.types
        if chosen or world == 1:
            return chosen or ("table_wise",)
        return (
            ("table_wise", "row_wise")
            if settings.optimizer == "rowwise_adagrad"
            else ("table_wise", "row_wise", "column_wise")
        )


class RowWiseToo(EmbeddingBagCollectionSharder):
    """torchrec's sharder, which leaves row-wise out on CPUs although its kernels and gloo are able to."""

    def sharding_types(self, compute_device_type: str) -> list[str]:
        types = super().sharding_types(compute_device_type)
        return types if "row_wise" in types else [*types, "row_wise"]


class Placement(NamedTuple):
    """One table of a plan. Sizes are of its weights over all processes, in bytes."""

    table: str
    rows: int
    dimension: int
    kind: str
    ranks: tuple[int, ...]
    bytes: int


def make_plan(
    network: nn.Module,
    tables: dict[str, int],
    settings: TableSettings,
    constraints: ShardingConstraints,
    sharder: RowWiseToo,
    process: ProcessContext,
    batch: int,
) -> ShardingPlan:
    """The cheapest plan that the planner finds: a pure function, the same on every process.

    `tables`: rows by name. `batch`: rows of one process. Raises RankerError where no plan fits.
    """
    constraints.check(tables, settings)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // process.local_world
    allowed = {
        name: _constraint(constraints.kinds(name, settings, process.world), constraints.column_width) for name in tables
    }
    with quiet_planner():
        topology = Topology(
            world_size=process.world,
            compute_device=process.device.type,
            local_world_size=process.local_world,
            ddr_cap=memory,
        )
        planner = EmbeddingShardingPlanner(topology=topology, batch_size=batch, constraints=allowed, debug=False)
        try:
            return planner.plan(network, [sharder])
        except PlannerError as error:
            said = " ".join(str(error).split())[:300]
            raise RankerError(f"no sharding plan fits {process.world} processes and the constraints: {said}") from error


def _constraint(kinds: Kinds, column_width: int) -> ParameterConstraints:
    """The kernels must be named: left alone, the planner may choose one that no fused optimizer updates."""
    kernels = {"dense" if kind == "data_parallel" else "fused" for kind in kinds}
    return ParameterConstraints(sharding_types=[*kinds], compute_kernels=sorted(kernels), min_partition=column_width)


def placements(plan: ShardingPlan, network: nn.Module) -> list[Placement]:
    """The plan table by table, in the order of the network's tables."""
    found = []
    for module, sharded in plan.plan.items():
        collection = cast(EmbeddingBagCollection, network.get_submodule(module))
        for config in collection.embedding_bag_configs():
            part = sharded[config.name]
            size = config.num_embeddings * config.embedding_dim * torch.float32.itemsize
            copies = len(part.ranks) if part.sharding_type == "data_parallel" else 1
            ranks = tuple(part.ranks)
            found.append(
                Placement(
                    config.name, config.num_embeddings, config.embedding_dim, part.sharding_type, ranks, size * copies
                )
            )
    return found


def plan_table(found: list[Placement], world: int) -> Table:
    """The plan for people."""
    title = f"Sharding over {world} process{'es' if world > 1 else ''}"
    text = ("table", "type", "processes")
    made = table(title, "table", "rows", "dim", "type", "processes", "MB", left=text)
    for one in found:
        where = ", ".join(map(str, one.ranks))
        size = f"{one.bytes / 1e6:,.1f}"
        made.add_row(one.table, f"{one.rows:,}", str(one.dimension), one.kind.replace("_", "-"), where, size)
    made.add_section()
    total = sum(one.bytes for one in found)
    made.add_row(f"{len(found)} tables", f"{sum(one.rows for one in found):,}", "", "", "", f"{total / 1e6:,.1f}")
    return made


@contextmanager
def quiet_planner() -> Iterator[None]:
    """Hold torchrec's loggers, and warnings, to errors: they speak of clusters and deprecations."""
    loggers = [logging.getLogger("torchrec"), logging.getLogger()]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
