"""Rows that belong together come to one task, in order, and flow through a Python function as Arrow batches.

No function holds a whole partition: Spark sorts (on disk where memory ends), the function sees one group after another.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

Batches = Iterator[pa.RecordBatch]
Row = dict[str, Any]
"""A row as Python values; binary columns are Arrow buffers, without a copy."""


def sorted_stream(
    frame: Any,
    function: Callable[[Batches], Batches],
    schema: str,
    by: str,
    order: Sequence[str],
    partitions: int,
) -> Any:
    """`function` over the frame's rows: those with equal `by` in one task, sorted by `order`, which begins with it.

    Args:
        by: an integer column; equal remainders by `partitions` share a task.
    """
    from pyspark.sql import functions as F

    keys = partition_keys(partitions)
    key = F.element_at(F.lit(keys), (F.col(by) % partitions).cast("int") + 1)
    placed = frame.withColumn("_partition", key).repartition(partitions, "_partition").drop("_partition")
    return placed.sortWithinPartitions(*order).mapInArrow(function, schema)


def partition_keys(partitions: int) -> list[int]:
    """One integer for each partition that Spark's hash partitioning sends there, so that no two share a task.

    Of a few large groups, hashing alone would put some into the same task and leave others idle.
    """
    tried = 16 * partitions
    while True:
        places, keys = np.unique(spark_hash(np.arange(tried, dtype=np.int32)) % partitions, return_index=True)
        if len(places) == partitions:
            return [int(key) for key in keys]
        tried *= 2


def spark_hash(numbers: NDArray[np.int32]) -> NDArray[np.int32]:
    """What Spark's `hash` makes of integers: MurmurHash3 x86 32 of four bytes with seed 42 (Austin Appleby)."""
    word = numbers.astype(np.uint32) * np.uint32(0xCC9E2D51)
    word = (word << np.uint32(15) | word >> np.uint32(17)) * np.uint32(0x1B873593)
    found = np.uint32(42) ^ word
    found = (found << np.uint32(13) | found >> np.uint32(19)) * np.uint32(5) + np.uint32(0xE6546B64)
    found ^= np.uint32(4)
    found = (found ^ found >> np.uint32(16)) * np.uint32(0x85EBCA6B)
    found = (found ^ found >> np.uint32(13)) * np.uint32(0xC2B2AE35)
    return (found ^ found >> np.uint32(16)).view(np.int32)


def rows_of(batches: Batches) -> Iterator[Row]:
    """The rows of batches, one by one, for few and large ones."""
    for batch in batches:
        names, columns = batch.schema.names, batch.columns
        for k in range(batch.num_rows):
            yield {name: _value(column, k) for name, column in zip(names, columns, strict=True)}


def record(schema: pa.Schema, **values: Any) -> pa.RecordBatch:
    """A batch of one row; arrays become binary."""
    row = {name: value.tobytes() if isinstance(value, np.ndarray) else value for name, value in values.items()}
    return pa.RecordBatch.from_arrays([pa.array([row[field.name]], field.type) for field in schema], schema=schema)


def floats(buffer: Any, columns: int = 1) -> NDArray[np.float64]:
    """float64 [n, columns] of a binary value."""
    return np.frombuffer(buffer, np.float64).reshape(-1, columns)


def _value(column: pa.Array, k: int) -> Any:
    scalar = column[k]
    return scalar.as_buffer() if pa.types.is_binary(column.type) and scalar.is_valid else scalar.as_py()
