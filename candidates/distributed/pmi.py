"""Item vectors on Spark: co-occurrence pairs -> positive PMI -> randomised SVD; only the vectors come to the driver."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from candidates.config import EmbeddingConfig
from candidates.distributed.blocks import cut_into_tiles
from candidates.distributed.rsvd import distributed_svd
from candidates.distributed.stages import Stages
from candidates.distributed.streams import Batches
from candidates.errors import CandidatesError
from candidates.matrices.embeddings import scaled_vectors
from candidates.matrices.pmi import Marginals

ENTRY_SCHEMA = "i int, j int, value double"
_ENTRY = pa.schema([("i", pa.int32()), ("j", pa.int32()), ("value", pa.float64())])


@dataclass(frozen=True)
class _PositivePmi:
    """Pairs of item positions -> entries of the matrix, in both directions. Sent to the executors."""

    rows: NDArray[np.int32]
    marginals: Marginals

    def entries(self, batches: Batches) -> Batches:
        for batch in batches:
            left, right = (self.rows[batch[name].to_numpy()] for name in ("item_i", "item_j"))
            counts = batch["users"].to_numpy().astype(np.float64)
            row, column = np.concatenate([left, right]), np.concatenate([right, left])
            values = self.marginals.pmi(row, column, np.concatenate([counts, counts]))
            kept = values > 0
            arrays = (row[kept], column[kept], values[kept].astype(np.float32))  # rounded as the local matrix is
            yield pa.RecordBatch.from_arrays(
                [
                    pa.array(array.astype(field.type.to_pandas_dtype()))
                    for array, field in zip(arrays, _ENTRY, strict=True)
                ],
                schema=_ENTRY,
            )


def spark_item_vectors(
    pairs: Any, items: NDArray[np.int32], config: EmbeddingConfig, stages: Stages, seed: int = 0
) -> NDArray[np.float32]:
    """float32 [I, d], as `candidates.matrices.embeddings.item_vectors` has them of the same counts.

    The driver holds what grows with the items alone: their marginals, and in the end their vectors.

    Args:
        pairs: a Spark table item_i < item_j, users: each pair of item positions once.
        items: int32 [I], the positions that are rows of the matrix, ascending.
    """
    from pyspark.sql import functions as F

    if config.pmi == "paper" or config.period_days is not None:
        raise CandidatesError(
            "embedding.pmi paper and embedding.period_days are computed on one machine alone; expected neither on Spark"
        )
    vectors = np.zeros((len(items), config.dimension), np.float32)
    either = pairs.select(F.explode(F.array("item_i", "item_j")).alias("item"), "users")
    summed = either.groupBy("item").agg(F.sum("users").alias("users")).toArrow()
    marginal = np.zeros(len(items))
    marginal[np.searchsorted(items, summed["item"].to_numpy())] = summed["users"].to_numpy()
    if not marginal.any():
        return vectors
    rows = np.full(int(items[-1]) + 1, -1, np.int32)
    rows[items] = np.arange(len(items), dtype=np.int32)
    pmi = _PositivePmi(rows, Marginals.of(marginal, config.context_power))
    entries = pairs.select("item_i", "item_j", "users").mapInArrow(pmi.entries, ENTRY_SCHEMA)
    if entries.isEmpty():
        return vectors
    bands = max(pairs.sparkSession.sparkContext.defaultParallelism, -(-len(items) // config.block_rows))
    matrix = cut_into_tiles(lambda: entries, len(items), len(items), stages, bands)
    svd = distributed_svd(matrix, config.dimension, stages, config.oversampling, config.power_iterations, seed)
    return scaled_vectors(svd.left.collect(), svd.values, config)
