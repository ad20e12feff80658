"""Checkpoints of a training: its tensors and plain facts in one safetensors file that is replaced whole.

A training that is killed and started again reads the newest checkpoint and goes on to the same model, bit for bit, as
if it had never stopped: parameters, optimisers' moments and random streams all come back.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from candidates.errors import CandidatesError

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@dataclass(frozen=True)
class CheckpointFile:
    """Where one training keeps its checkpoint.

    Attributes:
        identity: says which training it is, such as a digest of configuration and data; another's file is refused.
        every_seconds: at least so long between two writes.
    """

    path: Path
    identity: str
    every_seconds: float = 30.0

    def write(self, tensors: dict[str, "Tensor"], facts: dict[str, Any]) -> None:
        """Replace the file; a reader sees the old one or the new one.

        Raises:
            CandidatesError: the place cannot be written.
        """
        from safetensors.torch import save_file

        beside = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        described = {"identity": self.identity, "facts": json.dumps(facts)}
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            owned = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
            save_file(owned, beside, described)
            with beside.open("rb") as file:
                os.fsync(file.fileno())
            beside.replace(self.path)
        except OSError as error:
            raise CandidatesError(
                f"{self.path}: expected a place that can be written for a checkpoint, found {error}"
            ) from error
        finally:
            beside.unlink(missing_ok=True)

    def read(self) -> "tuple[dict[str, Tensor], dict[str, Any]] | None":
        """What was written last; None if nothing was.

        Raises:
            CandidatesError: not a checkpoint, or another training's.
        """
        from safetensors import SafetensorError, safe_open

        if not self.path.exists():
            return None
        try:
            with safe_open(self.path, "pt") as opened:
                described = opened.metadata() or {}
                tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 (no mapping)
            identity, facts = described["identity"], json.loads(described["facts"])
        except (OSError, SafetensorError, KeyError, ValueError) as error:
            raise CandidatesError(
                f"{self.path}: expected a checkpoint of a training, found {error!r}; remove the file to begin anew"
            ) from error
        if identity != self.identity:
            raise CandidatesError(
                f"{self.path} belongs to another training (other data or settings); expected one of this training; "
                "remove the file to begin anew"
            )
        return tensors, facts

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)


@dataclass
class TrainingState:
    """What a training changes as it goes, to be written and restored.

    Attributes:
        rng: all of numpy's draws. generator: all of torch's, if it draws there.
    """

    module: "torch.nn.Module"
    optimizers: "list[torch.optim.Optimizer]"
    rng: np.random.Generator
    generator: "torch.Generator | None" = None

    def tensors(self) -> dict[str, "Tensor"]:
        import torch

        found = {f"module.{name}": one for name, one in self.module.state_dict().items()}
        for place, optimizer in enumerate(self.optimizers):
            for parameter, values in optimizer.state_dict()["state"].items():
                for name, value in values.items():
                    tensor = value if isinstance(value, torch.Tensor) else torch.tensor(value)
                    found[f"optimizer.{place}.{parameter}.{name}"] = tensor
        if self.generator is not None:
            found["generator"] = self.generator.get_state()
        return found

    def facts(self) -> dict[str, Any]:
        return {"rng": self.rng.bit_generator.state, "whole_numbers": self._whole_numbers()}

    def restore(self, tensors: dict[str, "Tensor"], facts: dict[str, Any]) -> None:
        """Everything as it was when `tensors` and `facts` were taken.

        Raises:
            CandidatesError: they are those of a training of another form.
        """
        try:
            self.module.load_state_dict(within("module.", tensors))
            for place, optimizer in enumerate(self.optimizers):
                described = optimizer.state_dict()
                described["state"] = {}
                for name, tensor in within(f"optimizer.{place}.", tensors).items():
                    parameter, key = name.split(".", 1)
                    whole = [place, int(parameter), key] in facts["whole_numbers"]
                    described["state"].setdefault(int(parameter), {})[key] = int(tensor) if whole else tensor
                optimizer.load_state_dict(described)
            if self.generator is not None:
                self.generator.set_state(tensors["generator"])
            self.rng.bit_generator.state = facts["rng"]
        except (KeyError, ValueError, RuntimeError) as error:
            raise CandidatesError(
                f"a checkpoint does not fit this training: {error}; remove it to begin anew"
            ) from error

    def _whole_numbers(self) -> list[list[Any]]:
        """Which of the optimisers' values are Python's own numbers rather than tensors."""
        return [
            [place, parameter, name]
            for place, optimizer in enumerate(self.optimizers)
            for parameter, values in optimizer.state_dict()["state"].items()
            for name, value in values.items()
            if isinstance(value, int)
        ]


def within(prefix: str, tensors: dict[str, "Tensor"]) -> dict[str, "Tensor"]:
    """Those whose names begin so, without the beginning."""
    return {name.removeprefix(prefix): one for name, one in tensors.items() if name.startswith(prefix)}
