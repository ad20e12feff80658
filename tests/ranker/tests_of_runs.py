"""What the tests read from a run's folder."""

from pathlib import Path

from torch import Tensor

from ranker.distributed.checkpoints import newest_whole, read_whole


def weights_of(run: Path) -> dict[str, Tensor]:
    """Every tensor of the newest checkpoint, unsharded."""
    checkpoint = newest_whole(run / "checkpoints")
    assert checkpoint is not None
    return read_whole(checkpoint)
