"""The network of a run: built without its tables, sharded by the plan, its first weights drawn alike for any plan."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.distributed._shard.sharded_tensor import ShardedTensor
from torchrec import EmbeddingBagConfig
from torchrec.distributed.model_parallel import (
    DataParallelWrapper,
    DefaultDataParallelWrapper,
    DistributedModelParallel,
)
from torchrec.distributed.types import ShardingEnv

from ranker.features.specification import Specification
from ranker.networks.registry import build_network
from ranker.training.batch import Batch
from ranker.training.fast_linear import with_fast_linears
from ranker.training.launch import Place
from ranker.training.optimizers import fused_parameters
from ranker.training.plan import Placement, RowWiseToo, ShardingConstraints, make_plan, placements, quiet_planner
from ranker.training.settings import FitSettings
from ranker.training.shared_norm import RealRows, with_shared_norms
from ranker.training.table_decay import TABLE_KEY


class WeightedLoss(nn.Module):
    """What torchrec's pipeline drives: batch -> (loss, (logits, batch)).

    Binary cross entropy of each row times its weight: over processes the mean of these losses is the mean over rows.
    """

    def __init__(self, network: nn.Module, rows: RealRows | None = None) -> None:
        """`rows`: told which rows are real before each forward pass."""
        super().__init__()
        self.network, self._rows = network, rows or RealRows()

    def forward(self, batch: Batch) -> tuple[Tensor, tuple[Tensor, Batch]]:
        self._rows.weight = batch.weight
        logits = self.network(batch.dense, batch.bags, batch.position)
        loss = nn.functional.binary_cross_entropy_with_logits(logits, batch.label, batch.weight, reduction="sum")
        return loss, (logits.detach(), batch)


@dataclass(frozen=True)
class ShardedNetwork:
    """A network spread over processes.

    Attributes:
        model: torchrec's wrapper around WeightedLoss.
        placements: where the tables are.
    """

    model: DistributedModelParallel
    placements: list[Placement]

    @property
    def copied_tables(self) -> set[str]:
        """The names of the data_parallel tables."""
        return {one.table for one in self.placements if one.kind == "data_parallel"}

    def weights(self) -> dict[str, Tensor | ShardedTensor]:
        """By the names of the unsharded network. The tensors are the model's own, not copies."""
        return {name.removeprefix("network."): one for name, one in self.model.state_dict().items()}


class _Alone(DataParallelWrapper):
    """One process has nobody to average gradients with."""

    def wrap(self, dmp: DistributedModelParallel, env: ShardingEnv, device: torch.device) -> None:
        dmp._dmp_wrapped_module = dmp._dmp_wrapped_module.to(device)


def sharded_network(
    specification: Specification,
    tables: dict[str, int],
    settings: FitSettings,
    constraints: ShardingConstraints,
    place: Place,
) -> ShardedNetwork:
    """Build, plan, shard, and draw the first weights from `settings.seed`: the same whatever the plan.

    `tables`: rows by name. The tables are never held whole but where the plan puts them, one at a time while drawing.
    """
    device = place.device
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        network = build_network(settings.network, specification, tables, settings.shape.shape(), "meta")
    configs = network.embeddings.embedding_bag_configs()
    sharder = RowWiseToo(fused_params=fused_parameters(settings.tables))
    each = -(-settings.batch // place.world)
    plan = make_plan(network, tables, settings.tables, constraints, sharder, place, each)
    found = placements(plan, network)
    rows = RealRows()
    if place.world > 1:
        with_shared_norms(network, rows)
    whole = WeightedLoss(with_fast_linears(network) if device.type == "cpu" else network, rows)
    plan.plan = {f"network.{name}": part for name, part in plan.plan.items()}
    wrapper = DefaultDataParallelWrapper() if place.world > 1 else _Alone()
    with quiet_planner():
        model = DistributedModelParallel(
            whole, device=device, plan=plan, sharders=[sharder], data_parallel_wrapper=wrapper
        )
    sharded = ShardedNetwork(model, found)
    draw_tables(sharded, configs, settings.seed)
    return sharded


@torch.no_grad()
def draw_tables(sharded: ShardedNetwork, configs: list[EmbeddingBagConfig], seed: int) -> None:
    """Fill every table with its own draw: a function of the seed and the table alone, not of where its shards are."""
    weights = sharded.weights()
    for number, config in enumerate(configs):
        weight = weights[TABLE_KEY.format(config.name)]
        shards = weight.local_shards() if isinstance(weight, ShardedTensor) else None
        if shards == []:
            continue
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed((seed * 1_000_003 + number + 1) % 2**63)
            drawn = torch.empty(config.num_embeddings, config.embedding_dim)
            config.init_fn(drawn)
        if shards is None:
            weight.copy_(drawn)
            continue
        for shard in shards:
            (row, column), (rows, columns) = shard.metadata.shard_offsets, shard.metadata.shard_sizes
            shard.tensor.copy_(drawn[row : row + rows, column : column + columns])
