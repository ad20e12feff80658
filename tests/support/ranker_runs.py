"""What the tests' processes do, several runs one after another, and what the tests read from a run's folder."""

from pathlib import Path
from typing import Any

from torch import Tensor

from ranker.training.checkpoints import newest_whole, read_whole
from ranker.training.launch import Place
from ranker.training.loop import FitJob, fit


def fit_all(place: Place, jobs: list[FitJob]) -> list[dict[str, Any]]:
    return [fit(place, job) for job in jobs]


def fail_on_the_second(place: Place, kind: str) -> None:
    """One process fails, in the way asked for, while the other waits for it."""
    import os
    import signal

    import torch.distributed as distributed

    from ranker.errors import RankerError

    if place.rank == 1:
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
