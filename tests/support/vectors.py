"""Made-up item vectors and queries for tests of searches."""

import numpy as np


def clustered(rows: int, dimension: int, spread: float, seed: int = 0) -> np.ndarray:
    """Vectors around 20 centres with norms spread log-normally; the last column is a bias."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((20, dimension))
    vectors = centres[rng.integers(0, 20, rows)] + 0.5 * rng.standard_normal((rows, dimension))
    vectors *= np.exp(spread * rng.standard_normal((rows, 1)))
    return vectors.astype(np.float32)


def queries_like(vectors: np.ndarray, count: int, seed: int = 1) -> np.ndarray:
    rng = np.random.default_rng(seed)
    found = vectors[rng.integers(0, len(vectors), count)] + 0.3 * rng.standard_normal((count, vectors.shape[1]))
    found[:, -1] = 1
    return found.astype(np.float32)
