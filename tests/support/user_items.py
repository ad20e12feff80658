"""Small made-up user-item matrices, and settings that let every model be fitted on them in a moment."""

from pathlib import Path

import numpy as np
from scipy.sparse import csr_matrix


def two_tastes(users: int = 80, items: int = 25, seed: int = 0) -> csr_matrix:
    """Users of two tastes, items of two kinds, even and odd."""
    rng = np.random.default_rng(seed)
    taste = rng.integers(0, 2, users)[:, None] == (np.arange(items) % 2)[None]
    return csr_matrix((rng.random((users, items)) < np.where(taste, 0.5, 0.1)).astype(np.float32))


def write_ratings(path: Path, users: int) -> Path:
    """A MovieLens-like file of users of two tastes and 40 items: likes are rated 5, all else 2."""
    rng = np.random.default_rng(0)
    taste = rng.integers(0, 2, users)[:, None] == (np.arange(40) % 2)[None]
    liked = rng.random((users, 40)) < np.where(taste, 0.5, 0.1)
    lines = [f"{user},{item},{5 if liked[user, item] else 2}" for user in range(users) for item in range(40)]
    path.write_text("userId,movieId,rating\n" + "\n".join(lines) + "\n")
    return path


_LAYERS = {"hidden": "8", "latent": "4", "epochs": "3", "device": "cpu"}

SMALL = {
    "ials": {"factors": "4", "threads": "1"},
    "slim": {"l1": "1", "l2": "1"},
    "ease": {"l2": "5"},
    "elsa": {"dimension": "8", "epochs": "3", "device": "cpu"},
    "mult-dae": _LAYERS,
    "mult-vae": _LAYERS,
    "mult-vae-css": {**_LAYERS, "negatives": "10"},
    "paper-vae": _LAYERS,
    "led": {"dimension": "8"},
    **{f"led-{loss}": {"dimension": "8", "negatives": "10", "epochs": "3"} for loss in ("mult", "css", "bpr", "ns")},
}
"""By the model's name, as texts."""
