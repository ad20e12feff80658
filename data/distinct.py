"""Repeated ids dropped: of several rows with one key, the first stays."""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray


def first_places(keys: NDArray[np.generic]) -> NDArray[np.int64]:
    """int64, ascending: where each distinct value of `keys` [n] occurs first."""
    return np.sort(np.unique(keys, return_index=True)[1])


def first_of_each(table: pa.Table, key: str) -> pa.Table:
    """The first row of every value of the column `key`, in the order of the table; nulls are one value."""
    first = first_places(_codes(table[key]))
    return table if len(first) == len(table) else table.take(pa.array(first))


def first_repeat(column: pa.ChunkedArray) -> int | None:
    """The first row whose value has occurred before; None if all are distinct."""
    first = first_places(_codes(column))
    late = np.flatnonzero(first != np.arange(len(first)))
    at = int(late[0]) if len(late) else len(first)
    return at if at < len(column) else None


def _codes(column: pa.ChunkedArray) -> NDArray[np.int32]:
    return column.combine_chunks().dictionary_encode(null_encoding="encode").indices.to_numpy()
