"""Checkpoints of a training: its tensors and plain facts in one safetensors file that is replaced whole.

A training that is killed and started again reads the newest checkpoint and goes on to the same model, bit for bit, as
if it had never stopped: parameters, optimisers' moments and random streams all come back.
"""

import copy
import hashlib
import json
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from candidates.errors import CandidatesError
from data.files import replaced_file

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

        described = {"identity": self.identity, "facts": json.dumps(facts)}
        owned = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
        with replaced_file(self.path, durable=True, error=CandidatesError) as beside:
            save_file(owned, beside, described)

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
        return {"rng": self.rng.bit_generator.state}

    def restore(self, tensors: dict[str, "Tensor"], facts: dict[str, Any]) -> None:
        """Everything as it was when `tensors` and `facts` were taken.

        Raises:
            CandidatesError: they are those of a training of another form.
        """
        import torch

        try:
            self.module.load_state_dict(within("module.", tensors))
            for place, optimizer in enumerate(self.optimizers):
                described = optimizer.state_dict()
                described["state"] = {}
                for name, tensor in within(f"optimizer.{place}.", tensors).items():
                    parameter, key = name.split(".", 1)
                    whole = tensor.ndim == 0 and tensor.dtype == torch.int64  # SparseAdam counts its steps in Python
                    described["state"].setdefault(int(parameter), {})[key] = int(tensor) if whole else tensor
                optimizer.load_state_dict(described)
            if self.generator is not None:
                self.generator.set_state(tensors["generator"])
            self.rng.bit_generator.state = facts["rng"]
        except (KeyError, ValueError, RuntimeError) as error:
            raise CandidatesError(
                f"a checkpoint does not fit this training: {error}; remove it to begin anew"
            ) from error


def digest(*parts: Any) -> str:
    """Hexadecimal, of arrays and of what JSON can hold: an identity of a training."""
    found = hashlib.sha256()
    for part in parts:
        content = part.tobytes() if isinstance(part, np.ndarray) else json.dumps(part, sort_keys=True).encode()
        found.update(len(content).to_bytes(8, "little") + content)
    return found.hexdigest()


def within(prefix: str, tensors: dict[str, "Tensor"]) -> dict[str, "Tensor"]:
    """Those whose names begin so, without the beginning."""
    return {name.removeprefix(prefix): one for name, one in tensors.items() if name.startswith(prefix)}


@dataclass(frozen=True)
class Epoch:
    """One pass over the users: its mean loss, and what the validation users gave it (None without them)."""

    loss: float
    validation: float | None
    seconds: float = field(default=0.0, compare=False)  # with its validation, whichever process ran it


@dataclass
class Course:
    """How a training went so far: its epochs, and the parameters after the best of them."""

    file: CheckpointFile | None = None
    history: list[Epoch] = field(default_factory=list)
    best_epoch: int = -1
    best: "dict[str, Tensor] | None" = None
    written: float = field(default_factory=time.monotonic)
    marked: float = field(default_factory=time.monotonic)

    @classmethod
    def begun(cls, state: TrainingState, file: CheckpointFile | None) -> "Course":
        """At the beginning, or where the file's training was killed: `state` is brought there too."""
        found = None if file is None else file.read()
        if found is None:
            return cls(file)
        tensors, facts = found
        state.restore(tensors, facts)
        history = [Epoch(*one) for one in facts["history"]]
        return cls(file, history, facts["best_epoch"], within("best.", tensors) or None)

    def add(self, epoch: Epoch, state: TrainingState) -> None:
        now = time.monotonic()
        self.history.append(replace(epoch, seconds=now - self.marked))
        self.marked = now
        if epoch.validation is None:
            return
        before = -1.0 if self.best is None else self.history[self.best_epoch].validation
        if before is None or epoch.validation > before:
            self.best_epoch, self.best = len(self.history) - 1, copy.deepcopy(state.module.state_dict())

    def stalled(self, patience: int) -> bool:
        return self.best is not None and len(self.history) - 1 - self.best_epoch >= patience

    def save(self, state: TrainingState) -> None:
        """Write the checkpoint, if there is a place for it and the last one is old enough."""
        if self.file is None or time.monotonic() - self.written < self.file.every_seconds:
            return
        best = {f"best.{name}": one for name, one in (self.best or {}).items()}
        history = [[one.loss, one.validation, one.seconds] for one in self.history]
        facts = state.facts() | {"history": history, "best_epoch": self.best_epoch}
        self.file.write(state.tensors() | best, facts)
        self.written = time.monotonic()

    def take_best(self, state: TrainingState) -> None:
        """Give the module the parameters of the best epoch; the last one's stay where nothing was validated."""
        if self.best is not None:
            state.module.load_state_dict(self.best)
