"""What the tests' processes do: several runs one after another, in one launch."""

from typing import Any

from ranker.distributed.launch import Place
from ranker.distributed.loop import FitJob, fit


def fit_all(place: Place, jobs: list[FitJob]) -> list[dict[str, Any]]:
    return [fit(place, job) for job in jobs]


def fail_on_the_second(place: Place, kind: str) -> None:
    """One process fails, in the way asked for, while the other waits for it."""
    import os
    import signal

    import torch.distributed as distributed

    from ranker.specification import RankerError

    if place.rank == 1:
        if kind == "sentence":
            raise RankerError("row 7: expected something else")
        if kind == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        raise ZeroDivisionError("a fault of ours")
    distributed.barrier()
