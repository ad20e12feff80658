"""Item vectors with their ids, as a Parquet file that any tool reads."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from candidates.errors import CandidatesError
from data.files import replaced_file

ROWS = 100_000
"""Of a row group: what is held as Arrow at a time."""


def write_item_vectors(
    path: Path | str, item_ids: Sequence[str], vectors: NDArray[np.float32], **numbers: NDArray[np.float32]
) -> None:
    """Write or replace a Parquet file of the columns item_id (string) and vector (list<float32>).

    Args:
        item_ids: [items], of any kind; written as text.
        vectors: float32 [items, d].
        numbers: more columns by name, float32 [items] each, such as bias.

    Raises:
        CandidatesError: not one vector and number per id, an id twice, or a place that cannot be written.
    """
    ids = [str(one) for one in item_ids]
    found = np.asarray(vectors, np.float32)
    if found.ndim != 2 or {len(found), *map(len, numbers.values())} != {len(ids)}:
        raise CandidatesError(
            f"{len(ids)} item ids and vectors of shape {found.shape}; expected one vector for each id"
        )
    if len(set(ids)) < len(ids):
        raise CandidatesError("an item id stands twice; expected one vector for each item")
    fields = [("item_id", pa.string()), ("vector", pa.list_(pa.float32())), *((name, pa.float32()) for name in numbers)]
    schema = pa.schema(fields)
    with replaced_file(Path(path), error=CandidatesError) as beside, pq.ParquetWriter(beside, schema) as file:
        for start in range(0, len(ids), ROWS):  # at once, the offsets of many vectors would not fit their 32 bits
            rows = slice(start, start + ROWS)
            block = np.ascontiguousarray(found[rows])
            offsets = np.arange(len(block) + 1, dtype=np.int32) * np.int32(found.shape[1])
            lists = pa.ListArray.from_arrays(offsets, pa.array(block.ravel()))
            others = [pa.array(one[rows], pa.float32()) for one in numbers.values()]
            file.write_table(pa.table([pa.array(ids[rows], pa.string()), lists, *others], schema=schema))
