"""Normal numbers by counter: entry (row, column) of a random matrix is a function of the seed and its place alone.

Any block of rows can be made where it is needed, in any order and on any machine, and is always the same.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from data.mixing import GOLDEN, mixed

_COLUMN_BITS = 16
_TOGETHER = 1 << 20
"""Entries made at a time, so that the steps between stay in the cache."""


def gaussian_rows(rows: NDArray[np.integer], width: int, seed: int) -> NDArray[np.float64]:
    """float64 [len(rows), width]: these rows of the seed's endless matrix of independent standard normal numbers.

    The counter row * 2^16 + column goes through SplitMix64 (Steele, Lea and Flood 2014) and the normal distribution's
    inverse. A narrower matrix of the same seed has the same first columns.

    Raises:
        ValueError: a width above 2^16.
    """
    if not 0 <= width <= 1 << _COLUMN_BITS:
        raise ValueError(f"a random matrix may be up to {1 << _COLUMN_BITS} wide, found {width}")
    found = np.empty((len(rows), width), np.float64)
    columns = np.arange(width, dtype=np.uint64)
    start = mixed(np.array([seed % 2**64], np.uint64))
    together = max(1, _TOGETHER // max(1, width))
    for first in range(0, len(rows), together):
        chosen = np.asarray(rows[first : first + together]).astype(np.uint64) << np.uint64(_COLUMN_BITS)
        counters = chosen[:, None] + columns
        counters *= GOLDEN
        counters += start
        uniform = (mixed(counters) >> np.uint64(12)).astype(np.float64)  # 52 bits, so that adding a half is exact
        uniform += 0.5
        uniform *= 2.0**-52
        ndtri(uniform, out=found[first : first + together])
    return found
