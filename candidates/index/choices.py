"""What the building of a graph decides by: which rows stay out of it, and when its recall is reached."""

import numpy as np
from numpy.typing import NDArray

from data.statistics import standard_error

LARGE_NORM = 1.5
"""Rows of a norm above so many medians may be scanned beside the graph."""


def large_norms(norms: NDArray[np.float32], most: int) -> NDArray[np.int64]:
    """The places of norms above LARGE_NORM medians, ascending; of more than `most`, the largest."""
    if not len(norms):
        return np.empty(0, np.int64)
    large = np.flatnonzero(norms > LARGE_NORM * np.median(norms))
    return np.sort(large[np.argsort(-norms[large], kind="stable")[:most]])


def surely(recalls: NDArray[np.float64]) -> float:
    """What the mean recall of such queries is above, with 95 % confidence.

    A search that starts in the wrong place finds nothing: recalls differ much between queries, and of two samples of
    500 one may have .96 where the other has .94.
    """
    if len(recalls) < 2:
        return float(recalls.mean())
    return float(recalls.mean() - 1.645 * standard_error(recalls))
