"""Two orders of the same items made one, by reciprocal ranks. The ranker's guard measures what the gateway serves."""

import numpy as np
from numpy.typing import NDArray


def places(order: NDArray[np.int64]) -> NDArray[np.int64]:
    """int64 [n]: the place, 0 first, of each of n rows that `order` lists, best first."""
    found = np.empty(len(order), np.int64)
    found[order] = np.arange(len(order))
    return found


def blended(first: NDArray[np.int64], second: NDArray[np.int64], share: float) -> NDArray[np.float64]:
    """float64 [n]: (1 - share) / (1 + place in the first order) + share / (1 + place in the second); more is better."""
    return (1 - share) / (1.0 + first) + share / (1.0 + second)
