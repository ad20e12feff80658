"""A sparse matrix on Spark: its entries, cut into tiles by band of rows and band of columns, in both orientations."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from candidates.distributed.layout import Layout
from candidates.distributed.stages import Stages
from candidates.distributed.streams import Batches, array_groups, record, sorted_stream

TILE_SCHEMA = "band int, target int, targets binary, places binary, values binary"
_TILE = pa.schema(
    [("band", pa.int32()), ("target", pa.int32()), *((name, pa.binary()) for name in ("targets", "places", "values"))]
)


@dataclass(frozen=True)
class DistributedMatrix:
    """A [rows, columns] as sparse tiles, once by its rows (`by_rows`) and once by its columns (A^T by its rows).

    A row of either table is a tile: the entries between rows of `band` and rows of the other side's band `target`.

        targets: int32 [n], ascending, the entries' places in the target band. places: int32 [n], in `band`.
        values: float64 [n].

    The tiles with band = target are always there, be they empty.
    """

    by_rows: Any
    by_columns: Any
    row_layout: Layout
    column_layout: Layout

    @property
    def shape(self) -> tuple[int, int]:
        return self.row_layout.rows, self.column_layout.rows


def cut_into_tiles(
    entries: Callable[[], Any], rows: int, columns: int, stages: Stages, bands: int, tile_rows: int = 4096
) -> DistributedMatrix:
    """The matrix of a data frame of entries (i, j: integers; value: float), each place at most once.

    Args:
        entries: gives the data frame; not called where the stages hold the tiles already.
        bands: tasks of one product. Each holds one band of a dense matrix; fewer bands move less between tasks.
        tile_rows: rows that are summed and made orthonormal at a time.

    Raises:
        CandidatesError: a matrix without rows or columns.
    """
    row_layout, column_layout = Layout.of(rows, bands, tile_rows), Layout.of(columns, bands, tile_rows)
    by_rows = stages.table("by_rows", lambda: _tiles(entries(), "i", "j", row_layout, column_layout), from_blocks=False)
    by_columns = stages.table(
        "by_columns", lambda: _tiles(entries(), "j", "i", column_layout, row_layout), from_blocks=False
    )
    return DistributedMatrix(by_rows, by_columns, row_layout, column_layout)


def _tiles(entries: Any, own: str, other: str, layout: Layout, others: Layout) -> Any:
    from pyspark.sql import functions as F

    def placed(column: str, where: Layout) -> tuple[Any, Any]:
        number = F.col(column).cast("long")
        return (number % where.bands).cast("int"), F.floor(number / where.bands).cast("int")

    band, place = placed(own, layout)
    target, target_place = placed(other, others)
    entries = entries.select(
        band.alias("band"),
        target.alias("target"),
        target_place.alias("targets"),
        place.alias("places"),
        F.col("value").cast("double").alias("values"),
    )
    nothing = entries.sparkSession.range(min(layout.bands, others.bands)).select(
        F.col("id").cast("int").alias("band"),
        F.col("id").cast("int").alias("target"),
        F.lit(-1).alias("targets"),
        F.lit(-1).alias("places"),
        F.lit(0.0).alias("values"),
    )
    marked = entries.unionByName(nothing).withColumn("group", F.col("band") * F.lit(others.bands) + F.col("target"))
    pairs = layout.bands * others.bands
    partitions = min(pairs, max(layout.bands, entries.sparkSession.sparkContext.defaultParallelism))
    return sorted_stream(marked, _as_tiles, TILE_SCHEMA, "group", ["group"], partitions)


def _as_tiles(batches: Batches) -> Batches:
    for (band, target), columns in array_groups(batches, ["band", "target"]):
        kept = np.flatnonzero(columns["targets"] >= 0)
        order = kept[np.lexsort((columns["places"][kept], columns["targets"][kept]))]
        arrays = {name: columns[name][order] for name in ("targets", "places", "values")}
        yield record(_TILE, band=band, target=target, **arrays)
