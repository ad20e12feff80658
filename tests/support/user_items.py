"""Small made-up user-item matrices, and settings that let every model be fitted on them in a moment."""

import numpy as np
from scipy.sparse import csr_matrix


def two_tastes(users: int = 80, items: int = 25, seed: int = 0) -> csr_matrix:
    """Users of two tastes, items of two kinds, even and odd."""
    rng = np.random.default_rng(seed)
    taste = rng.integers(0, 2, users)[:, None] == (np.arange(items) % 2)[None]
    return csr_matrix((rng.random((users, items)) < np.where(taste, 0.5, 0.1)).astype(np.float32))


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
}
"""By the model's name, as texts."""
