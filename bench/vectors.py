"""Made-up item vectors in clusters, and histories of users who keep to a few of them, for the retrieval benchmarks."""

import numpy as np

DIMENSION, HISTORY = 100, 20


def clustered_vectors(items: int, seed: int, norm_spread: float = 0.2) -> np.ndarray:
    """float32 [items, DIMENSION + 1]: clusters of about 500 items whose sizes and norms differ; the bias last.

    Args:
        norm_spread: the standard deviation of the logarithm of a factor that every vector is multiplied with.
    """
    rng = np.random.default_rng(seed)
    clusters = max(items // 500, 1)
    shares = rng.dirichlet(np.full(clusters, 2.0))
    centres = rng.standard_normal((clusters, DIMENSION)).astype(np.float32)
    vectors = centres[rng.choice(clusters, items, p=shares)]
    vectors += 0.7 * rng.standard_normal((items, DIMENSION), np.float32)
    vectors *= rng.lognormal(0, norm_spread, (items, 1)).astype(np.float32) / np.float32(np.sqrt(DIMENSION))
    return np.column_stack([vectors, 0.1 * rng.standard_normal(items).astype(np.float32)])


def histories(vectors: np.ndarray, count: int, seed: int) -> np.ndarray:
    """int32 [count, HISTORY]: items near a random one, as a user's are."""
    rng = np.random.default_rng(seed)
    found = np.empty((count, HISTORY), np.int32)
    near = min(len(vectors), 20_000)
    for row in range(count):
        some = rng.choice(len(vectors), near, replace=False)
        scores = vectors[some, :-1] @ vectors[some[0], :-1]
        found[row] = some[np.argpartition(-scores, HISTORY)[:HISTORY]]
    return found


def user_queries(vectors: np.ndarray, count: int, seed: int) -> np.ndarray:
    """float32 [count, DIMENSION + 1]: the users' vectors, and a 1 for the bias."""
    queries = vectors[histories(vectors, count, seed)].mean(axis=1)
    queries[:, -1] = 1
    return queries
