"""How a network is trained: its configuration, the optimizer of its MLPs, and learning rates that reach the tables."""

from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import nn

from ranker.errors import RankerError
from ranker.networks.shape import DlrmShape


@dataclass(frozen=True)
class TrainingConfig:
    """How DLRM is trained.

    Attributes:
        batch: rows per step. epochs: at most. checks: validations per epoch.
        patience: validations without a better log loss before training stops.
        learning_rate, weight_decay: of the MLPs (AdamW, decoupled decay).
        table_learning_rate: of the tables. table_optimizer: Adagrad with one rate per row, or per entry.
        table_weight_decay: after each step, the rows that it read shrink by their learning rate times this
            (ranker/training/table_decay.py).
        final_rate: the learning rates fall linearly to this share of themselves at the end of the last epoch; 1: never.
        network: by its name in ranker/networks/registry.py.
        threads: of torch while training; one gives the same model twice.
    """

    network: str = "dlrm"
    shape: DlrmShape = field(default_factory=DlrmShape)
    batch: int = 512
    epochs: int = 8
    checks: int = 2
    patience: int = 4
    learning_rate: float = 1e-3
    weight_decay: float = 1e-2
    table_learning_rate: float = 0.02
    table_optimizer: Literal["rowwise_adagrad", "adagrad"] = "rowwise_adagrad"
    table_weight_decay: float = 0.0
    final_rate: float = 1.0
    threads: int = 1

    def __post_init__(self) -> None:
        if self.table_learning_rate * self.table_weight_decay >= 1:
            raise RankerError(
                f"table_weight_decay {self.table_weight_decay:g} at table_learning_rate {self.table_learning_rate:g} "
                "would leave nothing of a row; expected their product below 1"
            )


class LearningRates:
    """The optimizer of the MLPs, and the learning rates of MLPs and tables as they fall."""

    def __init__(self, sharded: nn.Module, config: TrainingConfig) -> None:
        self.optimizer, self._config = _dense_optimizer(sharded, config), config
        self.of_tables = config.table_learning_rate
        self._fused = getattr(sharded, "fused_optimizer")  # noqa: B009

    def set(self, passed: float) -> None:
        """At a share of the way. fbgemm learns of a changed rate only from the fused optimizer's `step`."""
        config = self._config
        if config.final_rate == 1:
            return
        factor = 1 - passed * (1 - config.final_rate)
        self.of_tables = config.table_learning_rate * factor
        for group in self.optimizer.param_groups:
            group["lr"] = config.learning_rate * factor
        for group in self._fused.param_groups:
            group["lr"] = self.of_tables
        self._fused.step()


def _dense_optimizer(model: nn.Module, config: TrainingConfig) -> torch.optim.AdamW:
    """Of all but the tables, which the fused kernel updates; biases, norms and the position bias do not decay."""
    mine = [(name, one) for name, one in model.named_parameters() if "embeddings." not in name]
    shrinks = {name: name.endswith("weight") and one.dim() > 1 and "position" not in name for name, one in mine}
    decayed = [one for name, one in mine if shrinks[name]]
    others = [one for name, one in mine if not shrinks[name]]
    groups = [{"params": decayed, "weight_decay": config.weight_decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=config.learning_rate)
