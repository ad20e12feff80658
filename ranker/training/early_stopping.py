"""Stop when validation gets no better, and keep the best weights: each process its own part of them."""

from typing import Any

import torch
from torch import Tensor

from ranker.training.model import ShardedNetwork


class EarlyStopping:
    """The best weights by validation. `patience` validations without better ones end the training.

    Attributes:
        step: after which validation was best. log_loss: what it was then.
        left: validations without a better one that are still borne.
    """

    def __init__(self, network: ShardedNetwork, patience: int) -> None:
        self._network, self._patience = network, patience
        self.step, self.log_loss, self.left = 0, float("inf"), patience
        self._best: list[Tensor] = []

    def seen(self, log_loss: float, step: int) -> bool:
        """Take note of a validation; of every process with the same figure. Whether it was the best so far."""
        if not log_loss < self.log_loss:
            self.left -= 1
            return False
        self.step, self.log_loss, self.left = step, log_loss, self._patience
        self.keep()
        return True

    def keep(self) -> None:
        """The weights of now are the best ones."""
        self._best = [one.detach().clone() for one in self._network.own_weights()]

    @torch.no_grad()
    def restore(self) -> None:
        """Give the network its best weights."""
        for own, best in zip(self._network.own_weights(), self._best, strict=True):
            own.copy_(best)

    def notes(self) -> dict[str, Any]:
        """What a checkpoint needs to go on."""
        return {"step": self.step, "log_loss": self.log_loss, "left": self.left}

    def go_on(self, notes: dict[str, Any]) -> None:
        """From the notes of a checkpoint, once `keep` was called with the best one's weights in the network."""
        self.step, self.log_loss, self.left = notes["step"], notes["log_loss"], notes["left"]
