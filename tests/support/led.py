"""Small made-up users of LED, and a training of one that another process can kill."""

import sys
from pathlib import Path

import numpy as np
import torch
from scipy.sparse import csr_matrix

from candidates.benchmarks.registry import build_model
from candidates.config import LedConfig
from candidates.led.presets import PAPER
from candidates.models.checkpoints import CheckpointFile
from candidates.protocols.splits import HeldOutUsers

SMALL = LedConfig(
    **PAPER | {"dimension": 8, "negatives": 20, "batch_size": 16, "learning_rate": 2e-2, "epochs": 12, "loss": "bpr"}
)


def made_up(users: int = 150, items: int = 30, seed: int = 0) -> csr_matrix:
    """Users of three tastes; each has an item at least."""
    rng = np.random.default_rng(seed)
    taste = rng.integers(0, 3, users)[:, None] == (np.arange(items) % 3)[None]
    dense = rng.random((users, items)) < np.where(taste, 0.6, 0.05)
    dense[np.arange(users), rng.integers(0, items, users)] = True
    return csr_matrix(dense.astype(np.float32))


def held_out(seed: int = 50, items: int = 30) -> HeldOutUsers:
    """Others of the same tastes; some of their items are hidden."""
    dense = made_up(60, items, seed).toarray()
    hidden = dense * (np.random.default_rng(seed).random(dense.shape) < 0.3)
    asked = hidden.any(axis=1)
    return HeldOutUsers(csr_matrix((dense - hidden)[asked]), csr_matrix(hidden[asked]))


def main(name: str, path: str, out: str, *settings: str) -> None:
    """Train the model `name`, its checkpoint at `path` after every epoch, and write scores of strangers to `out`."""
    torch.set_num_threads(1)
    model = build_model(name, dict(one.split("=") for one in settings))
    model.checkpoint = CheckpointFile(Path(path), "this", every_seconds=0)
    model.fit(made_up(), held_out(), show_progress=False)
    np.save(out, model.scores(made_up(20, seed=9)))


if __name__ == "__main__":
    main(*sys.argv[1:])
