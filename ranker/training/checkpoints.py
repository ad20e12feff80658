"""Checkpoints by torch.distributed.checkpoint: every process writes its own shards, any number of processes reads them.

A checkpoint is written beside, hashed, and renamed, so that it is there whole or not at all; the last two are kept.
DCP's own index is a pickle; here it is JSON, and tensors are read with weights_only, so that a file can hold no code.
"""

import json
import logging
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
import torch.distributed as distributed
import torch.distributed.checkpoint as dcp
import xxhash
from torch import Tensor
from torch.distributed._shard.sharded_tensor import ShardedTensor
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.metadata import TensorStorageMetadata

from data.files import force_to_disk, write_text_atomically
from ranker.errors import RankerError
from ranker.training.checkpoint_index import JsonIndexReader, JsonIndexWriter
from ranker.training.launch import ProcessContext

log = logging.getLogger(__name__)

Tensors = Mapping[str, Tensor | ShardedTensor]

KEPT = 2
_SEAL = "checkpoint.json"
_FORMAT = {"format": "tandem-ranker-checkpoint", "format_version": 1}


class Checkpoints:
    """The checkpoints of one run: folders `step-000001200`, newest last. All processes see the same file system."""

    def __init__(self, folder: Path, process: ProcessContext) -> None:
        self.folder, self.process = folder, process

    def save(self, step: int, tensors: Tensors, notes: dict[str, Any]) -> None:
        """Write what is needed to go on after `step` steps; of every process the same call.

        `notes`: JSON values, the same on every process or taken from the first. Beside the last checkpoints those stay
        that their notes call the best.
        """
        final = self._place(step)
        beside = self.folder / f".{final.name}.unfinished"
        if self.process.first:
            shutil.rmtree(beside, ignore_errors=True)
            beside.mkdir(parents=True)
        distributed.barrier()
        dcp.save(dict(tensors), storage_writer=JsonIndexWriter(beside))
        distributed.barrier()
        if self.process.first:
            files = {one.name: [one.stat().st_size, _digest(one)] for one in sorted(beside.iterdir())}
            described = {**_FORMAT, "step": step, "notes": notes, "files": files}
            write_text_atomically(beside / _SEAL, json.dumps(described, indent=2) + "\n")
            if final.exists():
                shutil.rmtree(final)
            beside.replace(final)
            force_to_disk(self.folder)
            self._prune()
        distributed.barrier()

    def restore(self, tensors: Tensors) -> tuple[int, dict[str, Any]] | None:
        """Fill the tensors, in place, from the newest checkpoint that is whole: its step and notes, or None.

        A damaged one is passed over with a sentence. Of every process the same call.

        Raises:
            RankerError: there are checkpoints, but none is whole; or it is of another network.
        """
        newest = torch.tensor(self._newest_whole() if self.process.first else 0)
        distributed.broadcast(newest, 0)
        step = int(newest)
        if step == _NONE:
            return None
        if step == _ALL_DAMAGED:
            raise RankerError(f"{self.folder}: every checkpoint is damaged; expected a whole one, or no --resume")
        self.load(step, tensors)
        return step, json.loads((self._place(step) / _SEAL).read_text())["notes"]

    def load(self, step: int, tensors: Tensors) -> None:
        """Fill the tensors, in place, from the checkpoint of a step. Raises RankerError if it is of another network."""
        chosen = self._place(step)
        try:
            dcp.load(dict(tensors), storage_reader=JsonIndexReader(chosen))
        except (CheckpointException, ValueError, RuntimeError, KeyError) as error:
            cause = _cause(error)
            if isinstance(cause, RankerError):
                raise cause from None
            said = " ".join(str(cause).split())[:300]
            raise RankerError(
                f"{chosen}: expected a checkpoint of this network and optimizers, found {said}"
            ) from error

    def _place(self, step: int) -> Path:
        return checkpoint_folder(self.folder, step)

    def _newest_whole(self) -> int:
        found = newest_whole(self.folder)
        if found is not None:
            return int(found.name.removeprefix("step-"))
        return _ALL_DAMAGED if any(self.folder.glob("step-*")) else _NONE

    def _prune(self) -> None:
        *older, last = sorted(self.folder.glob("step-*"))
        recent = [*older[1 - KEPT :], last]
        best = set()
        for one in recent:
            with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):  # damaged since
                best.add(self._place(_best_of(one)))
        for old in older[: 1 - KEPT]:
            if old not in best:
                shutil.rmtree(old)
        for left in self.folder.glob(".step-*.unfinished"):  # of a process that was killed while it wrote
            shutil.rmtree(left)


def checkpoint_folder(folder: Path, step: int) -> Path:
    """Where the checkpoint after so many steps lies."""
    return folder / f"step-{step:09d}"


def _cause(error: BaseException) -> BaseException:
    """What went wrong in the first process that failed, without DCP's tracebacks of all."""
    if isinstance(error, CheckpointException) and error.failures:
        return error.failures[min(error.failures)][0]
    return error


def read_whole(folder: Path) -> dict[str, Tensor]:
    """Every tensor of a checkpoint, unsharded, in this process: `weights.<name>` and `optimizers.<name>.<state>`.

    Raises:
        RankerError: the checkpoint is damaged.
    """
    wrong = damage(folder)
    if wrong is not None:
        raise RankerError(wrong)
    reader = JsonIndexReader(folder)
    found: dict[str, Tensor] = {}
    for name, one in reader.read_metadata().state_dict_metadata.items():
        assert isinstance(one, TensorStorageMetadata)
        found[name] = torch.empty(one.size, dtype=one.properties.dtype)
    dcp.load(found, storage_reader=reader, no_dist=True)
    return found


def newest_whole(folder: Path) -> Path | None:
    """The newest checkpoint of a run that is not damaged, if there is one; others are passed over with a sentence."""
    for one in sorted(folder.glob("step-*"), reverse=True):
        wrong = damage(one)
        if wrong is None:
            return one
        log.warning("%s; going back to the checkpoint before it", wrong)
    return None


_NONE, _ALL_DAMAGED = -1, -2


def best_step(folder: Path) -> int:
    """Which checkpoint of a run holds the weights to keep: the best by validation where the run stops by it."""
    newest = newest_whole(folder)
    if newest is None:
        raise RankerError(f"{folder}: expected a whole checkpoint of `tandem ranker fit`, found none")
    return _best_of(newest)


def _best_of(checkpoint: Path) -> int:
    """The step whose weights a checkpoint calls the best so far: its own without early stopping."""
    described = json.loads((checkpoint / _SEAL).read_text())
    return int(described["notes"].get("best", described)["step"])


def damage(folder: Path) -> str | None:
    """What is wrong with a checkpoint's folder, as a sentence; None if it is whole."""
    try:
        described = json.loads((folder / _SEAL).read_text())
        if {name: described[name] for name in _FORMAT} != _FORMAT:
            return f"{folder / _SEAL}: expected {_FORMAT}, found another format"
        for name, (size, digest) in described["files"].items():
            file = folder / name
            if not file.is_file() or file.stat().st_size != size or _digest(file) != digest:
                return f"{file} is missing or differs from what was written"
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return f"{folder / _SEAL}: expected a checkpoint's description, found {error}"
    return None


def _digest(path: Path) -> str:
    """XXH3 of a file: against damage, not against malice."""
    digest = xxhash.xxh3_128()
    with path.open("rb") as file:
        while block := file.read(1 << 22):
            digest.update(block)
    return digest.hexdigest()
