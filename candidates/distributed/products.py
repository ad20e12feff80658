"""Products of a distributed sparse matrix with a tall dense one: M^T X, where both are cut into the same bands of rows.

A task holds one band of X at a time, and of M one tile; it sends its share of every tile of the product to where the
shares are summed. With M stored by its columns as well, M X is the same product, so no task ever holds all of X.

A tall matrix lies in two tables. Of every tile, `factored` holds number, band, tile, q and r of its own QR
decomposition; `paths` holds number, band, tile and the small factor p, so that q p is the tile of a matrix with
orthonormal columns (`tsqr.py`). All numbers are float64.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy import sparse

from candidates.distributed.layout import Layout
from candidates.distributed.streams import Batches, Row, floats, record, rows_of, sorted_stream
from candidates.matrices.gaussian import gaussian_rows

FACTORED_SCHEMA = "number long, band int, tile int, q binary, r binary"
_FACTORED = pa.schema(
    [("number", pa.int64()), ("band", pa.int32()), ("tile", pa.int32()), ("q", pa.binary()), ("r", pa.binary())]
)
_SHARE_SCHEMA = "number long, source int, values binary"
_SHARE = pa.schema([("number", pa.int64()), ("source", pa.int32()), ("values", pa.binary())])

_PATH, _DENSE, _SPARSE = range(3)
"""The order in which a task meets a band's rows: small factors, the dense tiles they belong to, sparse tiles."""


@dataclass(frozen=True)
class Tall:
    """A tall matrix [rows, width] with orthonormal columns: its two tables, as the module describes them."""

    factored: Any
    paths: Any
    layout: Layout


@dataclass(frozen=True)
class _Product:
    """What a task has to know. Sent to the executors."""

    source: Layout
    target: Layout
    width: int
    seed: int

    def with_tall(self, batches: Batches) -> Batches:
        """Shares of M^T X for an X that comes with M's tiles."""
        for band, rows in groupby(rows_of(batches), key=lambda row: row["band"]):
            paths: dict[int, NDArray[np.float64]] = {}
            tiles: list[NDArray[np.float64]] = []
            dense: NDArray[np.float64] | None = None
            for row in rows:
                if row["kind"] == _PATH:
                    paths[row["tile"]] = floats(row["c"], columns=self.width)
                elif row["kind"] == _DENSE:
                    path = paths[row["tile"]]
                    tiles.append(floats(row["c"], columns=len(path)) @ path)
                else:
                    dense = np.concatenate(tiles) if dense is None else dense
                    yield from self._shares(band, row, dense)

    def with_random(self, batches: Batches) -> Batches:
        """Shares of M^T X for the random X of the seed, made here."""
        for band, rows in groupby(rows_of(batches), key=lambda row: row["band"]):
            dense = gaussian_rows(self.source.rows_of_band(band), self.width, self.seed)
            for row in rows:
                yield from self._shares(band, row, dense)

    def _shares(self, band: int, row: Row, dense: NDArray[np.float64]) -> Iterator[pa.RecordBatch]:
        target = row["tile"]
        targets, places = np.frombuffer(row["a"], np.int32), np.frombuffer(row["b"], np.int32)
        values = floats(row["c"]).ravel()
        for tile in range(self.target.tiles(target)):
            first, end = self.target.places(tile, target)
            starts = np.searchsorted(targets, np.arange(first, end + 1))
            here = slice(int(starts[0]), int(starts[-1]))
            if starts[0] == starts[-1] and band != target:
                continue  # nothing to add; the tiles of band = target make every tile of the product appear
            part = sparse.csr_array(
                (values[here], places[here], starts - starts[0]), shape=(end - first, self.source.height(band))
            )
            number = self.target.number(target, tile)
            yield record(_SHARE, number=number, source=band, values=np.asarray(part @ dense))

    def summed(self, batches: Batches) -> Batches:
        """Each tile's shares, in the order of their sources, summed and decomposed."""
        for number, rows in groupby(rows_of(batches), key=lambda row: row["number"]):
            total = np.zeros((len(self.target.rows_of_tile(number)), self.width))
            for row in rows:
                total += floats(row["values"], columns=self.width)
            q, r = np.linalg.qr(total)
            band, tile = self.target.band_and_tile(number)
            yield record(_FACTORED, number=number, band=band, tile=tile, q=q, r=r)


def times_tall(tiles: Any, tall: Tall, target: Layout, width: int) -> Any:
    """The table `factored` of M^T X: `tiles` are M's by its rows, laid out like `tall`."""
    from pyspark.sql import functions as F

    nothing = F.lit(None).cast("binary")
    paths = tall.paths.select("band", F.lit(_PATH).alias("kind"), "tile", nothing.alias("a"), nothing.alias("b"), "p")
    dense = tall.factored.select(
        "band", F.lit(_DENSE).alias("kind"), "tile", nothing.alias("a"), nothing.alias("b"), "q"
    )
    product = _Product(tall.layout, target, width, 0)
    rows = paths.union(dense).union(_as_rows(tiles)).toDF("band", "kind", "tile", "a", "b", "c")
    return _multiplied(rows, product.with_tall, product)


def times_random(tiles: Any, source: Layout, target: Layout, width: int, seed: int) -> Any:
    """The table `factored` of M^T Omega, Omega being the normal random matrix of the seed."""
    product = _Product(source, target, width, seed)
    rows = _as_rows(tiles).toDF("band", "kind", "tile", "a", "b", "c")
    return _multiplied(rows, product.with_random, product)


def _as_rows(tiles: Any) -> Any:
    from pyspark.sql import functions as F

    return tiles.select("band", F.lit(_SPARSE).alias("kind"), "target", "targets", "places", "values")


def _multiplied(rows: Any, function: Callable[[Batches], Batches], product: _Product) -> Any:
    bands = product.source.bands
    shares = sorted_stream(rows, function, _SHARE_SCHEMA, "band", ["band", "kind", "tile"], bands)
    tasks = min(product.target.numbers, 4 * max(bands, rows.sparkSession.sparkContext.defaultParallelism))
    return sorted_stream(shares, product.summed, FACTORED_SCHEMA, "number", ["number", "source"], tasks)
