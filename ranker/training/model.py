"""The network of a training: built without its tables, sharded by the plan, its first weights alike for any plan."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
import torch.distributed as distributed
from torch import Tensor, nn
from torch.distributed._shard.sharded_tensor import ShardedTensor
from torchrec import EmbeddingBagConfig
from torchrec.distributed.model_parallel import (
    DataParallelWrapper,
    DefaultDataParallelWrapper,
    DistributedModelParallel,
)
from torchrec.distributed.types import ShardingEnv, ShardingPlan

from ranker.features.specification import Specification
from ranker.networks.dlrm import Network
from ranker.networks.registry import build_network
from ranker.training.batch import Batch
from ranker.training.fast_linear import with_fast_linears
from ranker.training.launch import ProcessContext
from ranker.training.optimizers import fused_parameters
from ranker.training.plan import Placement, RowWiseToo, ShardingConstraints, make_plan, placements, quiet_planner
from ranker.training.settings import TrainingSettings
from ranker.training.shared_layers import StepRows, with_shared_dropout, with_shared_norms
from ranker.training.source import Standardisation
from ranker.training.table_decay import TABLE_KEY

State = Mapping[str, Tensor]
"""The weights of an unsharded network, by name."""


class WeightedLoss(nn.Module):
    """What a training step computes: batch -> (loss, (logits, batch)).

    Binary cross entropy of each row times its weight: over processes the mean of these losses is the mean over rows.
    Of a network of several members every one has its own loss; the loss is their mean.
    """

    def __init__(self, network: nn.Module, rows: StepRows) -> None:
        """`rows`: told of every forward pass."""
        super().__init__()
        self.network, self._rows = network, rows

    def forward(self, batch: Batch) -> tuple[Tensor, tuple[Tensor, Batch]]:
        self._rows.begin(batch.weight)
        logits = self.network(batch.dense, batch.bags, batch.position)
        loss, of_rows = weighted_loss(logits, batch.label, batch.weight)
        return loss, (of_rows, batch)


@torch.fx.wrap
def weighted_loss(logits: Tensor, label: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """logits float32 [B], or [members, B]; label, weight float32 [B] -> the loss, and the logits of the rows [B].

    With labels [heads, B], of which NaN are not known, logits [heads, B] have the sum of the heads' losses; the logits
    of the rows, and those that come for the rows alone, are the first head's.
    """
    if label.dim() == 2:
        if logits.dim() == 2:
            known = ~label.isnan()
            loss = nn.functional.binary_cross_entropy_with_logits(
                logits, label.nan_to_num(), weight * known, reduction="sum"
            )
            return loss, logits.detach()[0]
        label = label[0]
    members = len(logits) if logits.dim() == 2 else 1
    loss = nn.functional.binary_cross_entropy_with_logits(
        logits, label.expand_as(logits), weight.expand_as(logits), reduction="sum"
    )
    of_rows = logits.detach()
    return loss / members, of_rows.mean(dim=0) if of_rows.dim() == 2 else of_rows


@dataclass(frozen=True)
class ShardedNetwork:
    """A network spread over processes.

    Attributes:
        model: torchrec's wrapper around WeightedLoss.
        placements: where the tables are.
        rows: what its layers are told before every forward pass.
    """

    model: DistributedModelParallel
    placements: list[Placement]
    rows: StepRows

    @property
    def copied_tables(self) -> set[str]:
        """The names of the data_parallel tables."""
        return {one.table for one in self.placements if one.kind == "data_parallel"}

    def weights(self) -> dict[str, Tensor | ShardedTensor]:
        """By the names of the unsharded network. The tensors are the model's own, not copies."""
        return {name.removeprefix("network."): one for name, one in self.model.state_dict().items()}

    def own_weights(self) -> Iterator[Tensor]:
        """What this process holds, table shards included, always in one order."""
        for one in self.weights().values():
            if isinstance(one, ShardedTensor):
                yield from (shard.tensor for shard in one.local_shards())
            else:
                yield one

    def gathered(self) -> dict[str, Tensor]:
        """The unsharded network's weights on the first process, copied; nothing on the others. Of all the same call."""
        first = distributed.get_rank() == 0
        found = {}
        for name, one in self.weights().items():
            if not isinstance(one, ShardedTensor):
                found[name] = one.detach().to("cpu", copy=True)
            elif distributed.get_world_size() > 1:
                found[name] = torch.empty(one.size()) if first else torch.empty(0)
                one.gather(0, found[name] if first else None)
            else:
                found[name] = torch.empty(one.size())
                for shard in one.local_shards():
                    (row, column), (rows, columns) = shard.metadata.shard_offsets, shard.metadata.shard_sizes
                    found[name][row : row + rows, column : column + columns] = shard.tensor
        return found if first else {}


class _Alone(DataParallelWrapper):
    """One process has nobody to average gradients with."""

    def wrap(self, dmp: DistributedModelParallel, env: ShardingEnv, device: torch.device) -> None:
        dmp._dmp_wrapped_module = dmp._dmp_wrapped_module.to(device)


def sharded_network(
    specification: Specification,
    tables: dict[str, int],
    settings: TrainingSettings,
    process: ProcessContext,
    constraints: ShardingConstraints | None = None,
    standardisation: Standardisation | None = None,
    start: State | None = None,
) -> ShardedNetwork:
    """Build, plan, shard, and give the first weights, drawn from `settings.seed`: the same whatever the plan.

    The tables are never held whole but where the plan puts them, one at a time while drawing.

    Args:
        tables: rows by name.
        standardisation: of the dense features; None takes them as they are.
        start: the weights to go on from, instead of drawn ones.
    """
    device = process.device
    network, sharder, plan = planned_network(specification, tables, settings, process, constraints)
    if start is not None:
        network.load_state_dict({name: one for name, one in start.items() if "embeddings." not in name}, strict=False)
    if standardisation is not None:
        standardise(network, standardisation, started=start is not None)
    configs = network.embeddings.embedding_bag_configs()
    found = placements(plan, network)
    rows = StepRows(process.rank)
    with_shared_dropout(network, rows)
    if process.world > 1:
        with_shared_norms(network, rows)
    whole = WeightedLoss(with_fast_linears(network) if device.type == "cpu" else network, rows)
    plan.plan = {f"network.{name}": part for name, part in plan.plan.items()}
    wrapper = DefaultDataParallelWrapper() if process.world > 1 else _Alone()
    with quiet_planner():
        model = DistributedModelParallel(
            whole, device=device, plan=plan, sharders=[sharder], data_parallel_wrapper=wrapper
        )
    sharded = ShardedNetwork(model, found, rows)
    fill_tables(sharded, configs, settings.seed, start)
    return sharded


def planned_network(
    specification: Specification,
    tables: dict[str, int],
    settings: TrainingSettings,
    process: ProcessContext,
    constraints: ShardingConstraints | None = None,
) -> tuple[Network, RowWiseToo, ShardingPlan]:
    """The network, whose tables are not allocated yet, torchrec's sharder for them, and where they will be."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        network = build_network(settings.network, specification, tables, settings.shape, "meta")
    sharder = RowWiseToo(fused_params=fused_parameters(settings.tables))
    each = -(-settings.batch // process.world)
    plan = make_plan(network, tables, settings.tables, constraints or ShardingConstraints(), sharder, process, each)
    return network, sharder, plan


@torch.no_grad()
def standardise(network: Network, by: Standardisation, started: bool) -> None:
    """Set the mean and scale of dense features that have none. One that does not vary is ignored: its scale is 0.

    A network that was `started` from other weights keeps the others: its weights were learnt for that scale. The
    weights of a feature that did not vary, and of one that begins to, are 0, so that neither brings noise.
    """
    mean, deviation = torch.from_numpy(by.mean), torch.from_numpy(by.deviation)
    for arch in network.standardising:
        new = arch.scale == 0 if started else torch.ones(len(mean), dtype=torch.bool)
        arch.mean[new] = mean[new]
        arch.scale[new] = torch.where(deviation > 0, 1 / deviation, 0.0)[new]
        if arch.first_layer is not None:
            arch.first_layer.weight[:, new if started else deviation == 0] = 0


@torch.no_grad()
def fill_tables(
    sharded: ShardedNetwork, configs: list[EmbeddingBagConfig], seed: int, start: State | None = None
) -> None:
    """Give every table its first values: those of `start`, or its own draw.

    A draw is a function of the seed and the table alone, not of where its shards are. It is made in blocks of rows, and
    a process draws only those it holds a part of.
    """
    weights = sharded.weights()
    for number, config in enumerate(configs):
        key = TABLE_KEY.format(config.name)
        weight = weights[key]
        parts = [(0, 0, weight)] if not isinstance(weight, ShardedTensor) else []
        if isinstance(weight, ShardedTensor):
            for one in weight.local_shards():
                row, column = one.metadata.shard_offsets
                parts.append((row, column, one.tensor))
        for block, first in enumerate(range(0, config.num_embeddings, _DRAWN_ROWS)):
            count = min(_DRAWN_ROWS, config.num_embeddings - first)
            held = [one for one in parts if one[0] < first + count and one[0] + len(one[2]) > first]
            if not held:
                continue
            if start is not None:
                values = start[key][first : first + count]
            else:
                values = _drawn(config, count, (seed * 1_000_003 + number + 1 + block * 2_147_483_629) % 2**63)
            for row, column, tensor in held:
                low, high = max(row, first), min(row + len(tensor), first + count)
                columns = slice(column, column + tensor.shape[1])
                tensor[low - row : high - row] = values[low - first : high - first, columns]


_DRAWN_ROWS = 1 << 20
"""Rows of a table that are drawn at once: what bounds the memory beside it."""


def _drawn(config: EmbeddingBagConfig, rows: int, seed: int) -> Tensor:
    """First values of `rows` rows, float32 [rows, columns]."""
    values = torch.empty(rows, config.embedding_dim)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        config.init_fn(values)
    return values
