"""How much each id of a bag counts: a_k of the DLRM paper's equation 2, for training, serving and baselines alike."""

import numpy as np
from numpy.typing import NDArray

from ranker.errors import RankerError
from ranker.features.specification import Bag


def pooling_weights(
    bag: Bag, counts: NDArray[np.integer], length: int, given: NDArray[np.float32] | None = None
) -> NDArray[np.float32]:
    """float32 [n, length]: what to multiply the embeddings of n bags with before they are added up; 0 beyond their ids.

    Args:
        counts: int [n], ids of each bag, oldest first. length: of the longest.
        given: float32 [n, length], weights that come with the rows, finite; of a `weighted` bag.

    Raises:
        RankerError: weights are missing, or not numbers.
    """
    place = np.arange(length)
    there = place < counts[:, None]
    if bag.weighted:
        if given is None:
            raise RankerError(f"bag {bag.name}: expected a weight for each of its ids, found none")
        if not np.isfinite(given[:, :length][there]).all():
            raise RankerError(f"bag {bag.name}: expected finite weights, found one that is not a number")
        weights = np.where(there, given[:, :length], 0)
    else:
        weights = np.where(there, bag.decay ** np.maximum(counts[:, None] - 1 - place, 0), 0)
    if bag.pooling == "mean":
        sums = weights.sum(axis=1, keepdims=True)
        weights = np.divide(weights, sums, out=np.zeros_like(weights, np.float64), where=sums != 0)
    return weights.astype(np.float32)
