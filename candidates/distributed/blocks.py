"""A sparse matrix on Spark: its entries, cut into tiles by band of rows and band of columns, in both orientations."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import groupby
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from candidates.distributed.layout import Layout
from candidates.distributed.stages import Stages
from candidates.distributed.streams import Batches, Row, record, rows_of, sorted_stream

Placed: TypeAlias = tuple[NDArray[np.int64], Layout]
"""Rows or columns of entries, and where they lie."""

BY_ROWS, BY_COLUMNS = range(2)

TILE_SCHEMA = "side int, band int, target int, targets binary, places binary, values binary"
_TILE = pa.schema(
    [
        ("side", pa.int32()),
        ("band", pa.int32()),
        ("target", pa.int32()),
        *((name, pa.binary()) for name in ("targets", "places", "values")),
    ]
)
_ENTRIES_PER_CHUNK = 1 << 20


@dataclass(frozen=True)
class DistributedMatrix:
    """A [rows, columns] as sparse tiles, once by its rows (`by_rows`) and once by its columns (A^T by its rows).

    A row of either table is a tile, the entries between rows of `band` and rows of the other side's band `target`.

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
    cut = _Cut(row_layout, column_layout)
    if not stages.has("tiles"):
        chunks = stages.table("chunks", lambda: _chunks(entries(), cut), from_blocks=False)
        stages.table("tiles", lambda: _joined(chunks, cut), partition_by=["side"])
        stages.drop("chunks")
    tiles = stages.read("tiles")
    by_rows, by_columns = (tiles.filter(f"side = {side}") for side in (BY_ROWS, BY_COLUMNS))
    return DistributedMatrix(by_rows, by_columns, row_layout, column_layout)


@dataclass(frozen=True)
class _Cut:
    """Entries -> pieces of tiles of both orientations. Sent to the executors, which cut before Spark moves anything:
    a million entries travel as a few rows.
    """

    row_layout: Layout
    column_layout: Layout

    def chunks(self, batches: Batches) -> Batches:
        held: list[pa.RecordBatch] = []
        for batch in batches:
            held.append(batch)
            if sum(one.num_rows for one in held) >= _ENTRIES_PER_CHUNK:
                yield from self._cut(held)
                held = []
        if held:
            yield from self._cut(held)

    def _cut(self, held: list[pa.RecordBatch]) -> Batches:
        entries = pa.Table.from_batches(held)
        i, j, values = (entries[name].to_numpy() for name in ("i", "j", "value"))
        yield from self._pieces(BY_ROWS, (i, self.row_layout), (j, self.column_layout), values)
        yield from self._pieces(BY_COLUMNS, (j, self.column_layout), (i, self.row_layout), values)

    def _pieces(self, side: int, own: Placed, other: Placed, values: NDArray[np.float64]) -> Batches:
        (rows, layout), (columns, others) = own, other
        group = (rows % layout.bands) * others.bands + columns % others.bands
        order = np.argsort(group, kind="stable")
        targets, places = (
            (columns // others.bands)[order].astype(np.int32),
            (rows // layout.bands)[order].astype(np.int32),
        )
        group, values = group[order], values[order]
        starts = np.flatnonzero(np.r_[True, group[1:] != group[:-1]])
        for start, end in zip(starts.tolist(), [*starts[1:].tolist(), len(group)], strict=True):
            band, target = divmod(int(group[start]), others.bands)
            arrays = {"targets": targets[start:end], "places": places[start:end], "values": values[start:end]}
            yield record(_TILE, side=side, band=band, target=target, **arrays)

    def tiles(self, batches: Batches) -> Batches:
        for (side, band, target), rows in groupby(
            rows_of(batches), key=lambda row: (row["side"], row["band"], row["target"])
        ):
            pieces = list(rows)
            targets, places = (_joined_arrays(pieces, name, np.int32) for name in ("targets", "places"))
            order = np.lexsort((places, targets))
            values = _joined_arrays(pieces, "values", np.float64)[order]
            arrays = {"targets": targets[order], "places": places[order], "values": values}
            yield record(_TILE, side=side, band=band, target=target, **arrays)


def _joined_arrays(pieces: list[Row], name: str, dtype: type[np.generic]) -> NDArray[Any]:
    return np.concatenate([np.frombuffer(piece[name], dtype) for piece in pieces])


def _chunks(entries: Any, cut: _Cut) -> Any:
    from pyspark.sql import functions as F

    columns = (F.col("i").cast("long").alias("i"), F.col("j").cast("long").alias("j"), F.col("value").cast("double"))
    return entries.select(*columns).mapInArrow(cut.chunks, TILE_SCHEMA)


def _joined(chunks: Any, cut: _Cut) -> Any:
    """The tiles, those without entries among them where band = target."""
    from pyspark.sql import functions as F

    bands = cut.row_layout.bands, cut.column_layout.bands
    nothing = F.lit(b"")
    session = chunks.sparkSession
    same = session.range(min(bands)).select(
        F.explode(F.array(F.lit(BY_ROWS), F.lit(BY_COLUMNS))).alias("side"),
        F.col("id").cast("int").alias("band"),
        F.col("id").cast("int").alias("target"),
        *(nothing.alias(name) for name in ("targets", "places", "values")),
    )
    greatest = max(bands)
    number = (F.col("side") * greatest + F.col("band")) * greatest + F.col("target")
    numbered = chunks.unionByName(same).withColumn("group", number)
    partitions = min(2 * bands[0] * bands[1], 4 * max(greatest, session.sparkContext.defaultParallelism))
    return sorted_stream(numbered, cut.tiles, TILE_SCHEMA, "group", ["group"], partitions)
