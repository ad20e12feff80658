"""Arrays of positions turned into Arrow columns of strings, without a Python loop over rows."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray


def taken(strings: Sequence[str], positions: NDArray[np.integer]) -> pa.Array:
    """The string at each position."""
    return pa.array(strings, pa.string()).take(pa.array(np.asarray(positions)))


def numbered(prefix: str, numbers: NDArray[np.integer], mask: NDArray[np.bool_] | None = None) -> pa.Array:
    """prefix + each number, padded to nine digits; null where the mask is true."""
    digits = pc.utf8_lpad(pa.array(np.asarray(numbers)).cast(pa.string()), 9, "0")
    column = pc.binary_join_element_wise(prefix, digits, "")
    return column if mask is None else pc.if_else(pa.array(mask), pa.scalar(None, pa.string()), column)
