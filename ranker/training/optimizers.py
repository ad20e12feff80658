"""Optimizers of a sharded network: the tables' are fused into fbgemm's backward pass, the others are torch's own."""

from collections.abc import Iterator
from typing import Any

import torch
from fbgemm_gpu.split_embedding_configs import EmbOptimType
from torch import Tensor, nn
from torch.distributed._shard.sharded_tensor import ShardedTensor
from torch.optim import Optimizer
from torchrec.distributed.model_parallel import DistributedModelParallel
from torchrec.optim.rowwise_adagrad import RowWiseAdagrad

from ranker.training.settings import MlpSettings, TableSettings

_FUSED = {
    "sgd": EmbOptimType.EXACT_SGD,
    "adagrad": EmbOptimType.EXACT_ADAGRAD,
    "rowwise_adagrad": EmbOptimType.EXACT_ROWWISE_ADAGRAD,
}
_TABLES = "embeddings.embedding_bags."


def fused_parameters(settings: TableSettings) -> dict[str, Any]:
    """What torchrec's sharder passes to fbgemm. A new dict each time: torchrec changes the one it is given."""
    return {
        "optimizer": _FUSED[settings.optimizer],
        "learning_rate": settings.learning_rate,
        "eps": settings.epsilon,
    }


class Optimizers:
    """All optimizers of one network, as one: what torchrec's pipeline and the schedule need of them.

    Tables whose sharding is data_parallel have no fused kernel; a torch optimizer of the same formula takes them.
    """

    def __init__(
        self, model: DistributedModelParallel, copied_tables: set[str], tables: TableSettings, mlps: MlpSettings
    ) -> None:
        """`copied_tables`: the data_parallel ones. Of tables on other processes the model shows empty parameters."""
        self._fused = model.fused_optimizer
        named = dict(model.named_parameters())
        layers = {name: one for name, one in named.items() if _TABLES not in name}
        copied = {name: one for name, one in named.items() if name.split(_TABLES)[-1].split(".")[0] in copied_tables}
        copied = {name: one for name, one in copied.items() if _TABLES in name}
        self._torch = [(layers, mlp_optimizer(layers, mlps))]
        if copied:
            self._torch.append((copied, _of_copied_tables([*copied.values()], tables)))
        self._bases = [mlps.learning_rate, *([tables.learning_rate] if copied else [])]
        self._table_rate = tables.learning_rate

    def set_rate(self, factor: float) -> None:
        """Multiply every base learning rate by `factor`, from the next backward pass on.

        fbgemm learns of a changed rate only from the fused optimizer's `step`, which does nothing else.
        """
        for group in self._fused.param_groups:
            group["lr"] = self._table_rate * factor
        self._fused.step()
        for (_, optimizer), base in zip(self._torch, self._bases, strict=True):
            for group in optimizer.param_groups:
                group["lr"] = base * factor

    def zero_grad(self, set_to_none: bool = True) -> None:
        for _, optimizer in self._torch:
            optimizer.zero_grad(set_to_none=set_to_none)

    def step(self) -> None:
        """Of the torch optimizers; the tables were updated during `backward`."""
        for _, optimizer in self._torch:
            optimizer.step()

    def state(self) -> dict[str, Tensor | ShardedTensor]:
        """Every state tensor, by `<parameter>.<state>`: the optimizers' own tensors, not copies.

        A table's sum of squares has one name and one shape whether it is kept by fbgemm or by torch, so that a
        checkpoint can be loaded under another plan.
        """
        return dict(self._named_states())

    def _named_states(self) -> Iterator[tuple[str, Tensor | ShardedTensor]]:
        for name, states in self._fused.state_dict()["state"].items():
            for state, tensor in states.items():
                if state.endswith("momentum1"):
                    yield f"{_plain(name)}.sum", tensor
        for parameters, optimizer in self._torch:
            for name, parameter in parameters.items():
                for state, tensor in optimizer.state[parameter].items():
                    if isinstance(tensor, Tensor) and not (_TABLES in name and state == "step"):
                        yield f"{_plain(name)}.{state}", _without_ones(tensor)


def _plain(name: str) -> str:
    return name.removeprefix("network.")


def _without_ones(tensor: Tensor) -> Tensor:
    """A view without trailing dimension of 1, and with one dimension at least."""
    if tensor.dim() == 2 and tensor.shape[1] == 1:
        return tensor[:, 0]
    return tensor.view(1) if tensor.dim() == 0 else tensor


def mlp_optimizer(named: dict[str, nn.Parameter], settings: MlpSettings) -> Optimizer:
    """Biases, norms and the position bias do not decay."""
    decays = {
        name: (name.endswith("weight") or "sparse.weights" in name) and one.dim() > 1 and "position" not in name
        for name, one in named.items()
    }
    groups = [
        {"params": [one for name, one in named.items() if decays[name]], "weight_decay": settings.weight_decay},
        {"params": [one for name, one in named.items() if not decays[name]], "weight_decay": 0.0},
    ]
    rate = settings.learning_rate
    if settings.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=rate)
    if settings.optimizer == "adagrad":
        return torch.optim.Adagrad(groups, lr=rate, eps=settings.epsilon)
    optimizer = torch.optim.AdamW(groups, lr=rate, eps=settings.epsilon)
    for parameter in named.values():  # torch makes them at the first step; a checkpoint must find them before
        optimizer.state[parameter] = {
            "step": torch.tensor(0.0),
            "exp_avg": torch.zeros_like(parameter),
            "exp_avg_sq": torch.zeros_like(parameter),
        }
    return optimizer


def _of_copied_tables(parameters: list[nn.Parameter], settings: TableSettings) -> Optimizer:
    """The same update as the fused one, from dense gradients."""
    if settings.optimizer == "sgd":
        return torch.optim.SGD(parameters, lr=settings.learning_rate)
    if settings.optimizer == "adagrad":
        return torch.optim.Adagrad(parameters, lr=settings.learning_rate, eps=settings.epsilon)
    return RowWiseAdagrad(parameters, lr=settings.learning_rate, eps=settings.epsilon)
