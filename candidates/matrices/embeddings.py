"""Item vectors of one country: co-occurrence -> positive PMI -> randomised SVD (LED paper, section 4.1)."""

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse import csr_matrix

from candidates.config import EmbeddingConfig
from candidates.matrices.pmi import ItemTimelines, positive_pmi
from candidates.matrices.rsvd import randomized_svd, row_blocks


def item_vectors(
    cooccurrence: sparse.csr_array,
    config: EmbeddingConfig,
    seed: int = 0,
    threads: int = 1,
    timelines: ItemTimelines | None = None,
) -> NDArray[np.float32]:
    """float32 [I, d]: left singular vectors times values ** value_power, scaled to a root mean square norm of 1.

    d is the configured dimension; columns beyond the number of items are zero. An item that met no other has a zero
    vector.

    Args:
        timelines: that the pairs are from; only the paper's PMI needs them.
    """
    pmi = positive_pmi(cooccurrence, config.context_power, timelines if config.pmi == "paper" else None)
    if not pmi.nnz:
        return np.zeros((cooccurrence.shape[0], config.dimension), np.float32)
    rows = min(config.block_rows, max(1, -(-pmi.shape[0] // threads)))
    svd = randomized_svd(
        row_blocks(pmi, rows), config.dimension, config.oversampling, config.power_iterations, seed, threads
    )
    return scaled_vectors(svd.left, svd.values, config)


def scaled_vectors(
    left: NDArray[np.float64], values: NDArray[np.float64], config: EmbeddingConfig
) -> NDArray[np.float32]:
    """float32 [I, d] from singular vectors [I, k] and values [k], k <= d, as `item_vectors` scales them."""
    vectors = np.zeros((len(left), config.dimension), np.float32)
    found = left * values**config.value_power
    vectors[:, : found.shape[1]] = found / np.sqrt((found**2).sum(axis=1).mean())
    return vectors


def svd_vectors(user_items: csr_matrix, config: EmbeddingConfig, seed: int) -> NDArray[np.float32]:
    """float32 [items, d]: as `item_vectors`, of the items that users of a binary matrix took together."""
    together = sparse.csr_array((user_items.T @ user_items).astype(np.float64))
    users_of_item = np.bincount(user_items.indices, minlength=user_items.shape[1]).astype(np.float64)
    return item_vectors(together, config, seed, timelines=ItemTimelines(users_of_item, user_items.shape[0]))
