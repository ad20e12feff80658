"""What the tests' processes do, several runs one after another, and what the tests read from a run's folder."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch.distributed as distributed
from torch import Tensor

from ranker.training.checkpoints import newest_whole, read_whole
from ranker.training.fit import FitJob, fit
from ranker.training.launch import ProcessContext


def fit_all(process: ProcessContext, jobs: list[FitJob]) -> list[dict[str, Any]]:
    return [fit(process, job) for job in jobs]


def fail_on_the_second(process: ProcessContext, kind: str) -> None:
    """One process fails, in the way asked for, while the other waits for it."""
    import os
    import signal

    from ranker.errors import RankerError

    if process.rank == 1:
        if kind == "sentence":
            raise RankerError("row 7: expected something else")
        if kind == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        raise ZeroDivisionError("a fault of ours")
    distributed.barrier()


def weights_of(run: Path) -> dict[str, Tensor]:
    """Every tensor of the newest checkpoint, unsharded."""
    checkpoint = newest_whole(run / "checkpoints")
    assert checkpoint is not None
    return read_whole(checkpoint)


@contextmanager
def process_group() -> Iterator[None]:
    """This process alone is the whole group."""
    distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)
    try:
        yield
    finally:
        distributed.destroy_process_group()
