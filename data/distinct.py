"""Repeated ids dropped: of several rows with one key, the first stays."""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray


def first_places(keys: NDArray[np.generic]) -> NDArray[np.int64]:
    """int64, ascending: where each distinct value of `keys` [n] occurs first."""
    return np.sort(np.unique(keys, return_index=True)[1])


def first_of_each(table: pa.Table, key: str) -> pa.Table:
    """The first row of every value of the column `key`, in the order of the table; nulls are one value."""
    codes = table[key].combine_chunks().dictionary_encode(null_encoding="encode").indices.to_numpy()
    first = first_places(codes)
    return table if len(first) == len(table) else table.take(pa.array(first))
