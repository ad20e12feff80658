"""Embedding tables under torchrec: sharded by its planner, updated by fbgemm's fused kernels. One or many processes."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.distributed._shard.sharded_tensor import ShardedTensor

from ranker.networks.dlrm import Network


@contextmanager
def process_group() -> Iterator[None]:
    """torchrec needs a process group even for one process: one over gloo, in memory, unless a launcher made one."""
    import torch.distributed as distributed

    if distributed.is_initialized():
        yield
        return
    distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)
    try:
        yield
    finally:
        distributed.destroy_process_group()


def shard(model: Network, learning_rate: float, rowwise: bool = True) -> nn.Module:
    """The model with every table whole on one process, updated by fused Adagrad during `backward`.

    `rowwise`: one learning rate per row of a table, not one per entry.

    The planner must be told: left alone it gives small tables to the dense kernel, which no fused optimizer updates.
    """
    import torch.distributed as distributed
    from fbgemm_gpu.split_embedding_configs import EmbOptimType
    from torchrec.distributed.embedding_types import EmbeddingComputeKernel
    from torchrec.distributed.embeddingbag import EmbeddingBagCollectionSharder
    from torchrec.distributed.model_parallel import DistributedModelParallel
    from torchrec.distributed.planner import EmbeddingShardingPlanner, ParameterConstraints, Topology
    from torchrec.distributed.types import ShardingType

    fused = {
        "optimizer": EmbOptimType.EXACT_ROWWISE_ADAGRAD if rowwise else EmbOptimType.EXACT_ADAGRAD,
        "learning_rate": learning_rate,
        "eps": 1e-8,
    }
    whole = ParameterConstraints(
        sharding_types=[ShardingType.TABLE_WISE.value], compute_kernels=[EmbeddingComputeKernel.FUSED.value]
    )
    names = [table.name for table in model.embeddings.embedding_bag_configs()]
    with warnings.catch_warnings(), _quiet("torchrec"), _quiet(None):
        warnings.simplefilter("ignore")
        sharders = [EmbeddingBagCollectionSharder(fused_params=fused)]
        planner = EmbeddingShardingPlanner(
            topology=Topology(world_size=distributed.get_world_size(), compute_device="cpu"),
            constraints=dict.fromkeys(names, whole),
        )
        plan = planner.plan(model, sharders)
        tables = {name: weight.detach().clone() for name, weight in model.embeddings.state_dict().items()}
        sharded = DistributedModelParallel(model, device=torch.device("cpu"), plan=plan, sharders=sharders)
    for name, weight in sharded.state_dict().items():
        if isinstance(weight, ShardedTensor):  # sharding draws the tables anew
            weight.local_tensor().copy_(tables[name.split("embeddings.", 1)[1]])
    return sharded


def weights_of(model: nn.Module) -> dict[str, Tensor | ShardedTensor]:
    """The model's own tensors, under the names of the unsharded network."""
    return {name.replace("module.", ""): tensor for name, tensor in model.state_dict().items()}


def plain_state(model: nn.Module) -> dict[str, Tensor]:
    """A copy of the weights, tables gathered, under the names of the unsharded network."""
    state = {}
    for name, tensor in weights_of(model).items():
        local = tensor.local_tensor() if isinstance(tensor, ShardedTensor) else tensor
        state[name] = local.detach().clone()
    return state


@contextmanager
def _quiet(name: str | None) -> Iterator[None]:
    """Hold a logger (None: the root) to errors: torchrec's planner warns about clusters, here there is one process."""
    logger = logging.getLogger(name)
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)
