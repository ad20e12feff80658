"""The randomised SVD of `candidates/matrices/rsvd.py` on Spark: the same random matrix, the same steps, the same signs.

Every product is one Spark job whose result is a stage on disk, and every tree of small QR factors another. The driver
sees matrices of (dimension + oversampling)^2 numbers only, until somebody collects a factor.

Of an n x n matrix in d bands, with w = dimension + oversampling, a product moves d n w numbers between tasks (twice
that on disk), and a task holds n w / d of them beside one sparse tile.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from candidates.distributed.blocks import DistributedMatrix
from candidates.distributed.layout import Layout
from candidates.distributed.products import Tall, times_random, times_tall
from candidates.distributed.stages import Stages, reading_blocks
from candidates.distributed.streams import Batches, floats, record, rows_of, sorted_stream
from candidates.distributed.tsqr import FAN_IN, ROOT, tree_paths
from candidates.errors import CandidatesError
from candidates.matrices.rsvd import Dense
from data.console import progress_bar

_VECTORS_SCHEMA = "number long, values binary, peaks binary, peak_rows binary"
_VECTORS = pa.schema([("number", pa.int64()), *((name, pa.binary()) for name in ("values", "peaks", "peak_rows"))])


@dataclass(frozen=True)
class Factor:
    """Singular vectors [rows, k] as a Spark table of tiles.

    Attributes:
        table: number; values: float64 [rows of the tile, k], before the signs are fixed.
        signs: float64 [k], 1 or -1.
    """

    table: Any
    layout: Layout
    signs: NDArray[np.float64]

    def tiles(self) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float64]]]:
        """(rows, their vectors float64 [len(rows), k]) of each tile, fetched one after another."""
        with reading_blocks(self.table.sparkSession):
            for row in self.table.select("number", "values").toLocalIterator():
                yield self.layout.rows_of_tile(row["number"]), floats(row["values"], len(self.signs)) * self.signs

    def collect(self, dtype: type[np.floating[Any]] = np.float64) -> NDArray[Any]:
        """[rows, k], the whole factor in this process: rows times k numbers of `dtype`."""
        found = np.empty((self.layout.rows, len(self.signs)), dtype)
        for rows, vectors in self.tiles():
            found[rows] = vectors
        return found


@dataclass(frozen=True)
class DistributedSvd:
    """A ~ left @ diag(values) @ right.T, values float64 [k] descending; the factors stay on Spark."""

    left: Factor
    values: NDArray[np.float64]
    right: Factor


def distributed_svd(
    matrix: DistributedMatrix,
    dimension: int,
    stages: Stages,
    oversampling: int = 30,
    power_iterations: int = 2,
    seed: int = 0,
    fan_in: int = FAN_IN,
    shown: bool = True,
) -> DistributedSvd:
    """As `candidates.matrices.rsvd.randomized_svd`, for the same seed the same to rounding.

    Args:
        stages: where finished steps lie; a job that was killed and is repeated goes on after the last of them. The
            factors are read from there, so it has to outlive them.
        fan_in: R factors that are stacked in one node of the tree.

    Raises:
        CandidatesError: a dimension below 1.
    """
    if dimension < 1:
        raise CandidatesError(f"the dimension of a decomposition must be at least 1, found {dimension}")
    rows, columns = matrix.shape
    width = min(dimension + oversampling, rows, columns)
    job = _Job(matrix, stages, width, fan_in)
    with progress_bar("randomised SVD on Spark, products", 2 + 2 * power_iterations, shown) as bar:
        left, _ = job.begun(seed)
        bar.advance()
        for k in range(1, power_iterations + 1):
            right, _ = job.back(f"right-{k}", left)
            bar.advance()
            left, _ = job.forth(f"left-{k}", right)
            bar.advance()
        right, small = job.back("right-last", left)
        bar.advance()
    inner_left, values, inner_right = np.linalg.svd(small.T)
    kept = min(dimension, width)
    left_vectors = job.vectors("left-vectors", left, inner_left[:, :kept])
    right_vectors = job.vectors("right-vectors", right, inner_right.T[:, :kept])
    signs = _signs(left_vectors, kept)
    return DistributedSvd(
        Factor(left_vectors, left.layout, signs), values[:kept], Factor(right_vectors, right.layout, signs)
    )


@dataclass(frozen=True)
class _Job:
    """The steps of one decomposition, each a pair of stages."""

    matrix: DistributedMatrix
    stages: Stages
    width: int
    fan_in: int

    def begun(self, seed: int) -> tuple[Tall, Dense]:
        """The range of A Omega."""
        source, target = self.matrix.column_layout, self.matrix.row_layout
        product = partial(times_random, self.matrix.by_columns, source, target, self.width, seed)
        return self._orthonormal("left-0", product, target)

    def back(self, name: str, left: Tall) -> tuple[Tall, Dense]:
        """The range of A^T Q, and its R factor."""
        target = self.matrix.column_layout
        return self._orthonormal(name, partial(times_tall, self.matrix.by_rows, left, target, self.width), target)

    def forth(self, name: str, right: Tall) -> tuple[Tall, Dense]:
        """The range of A Q."""
        target = self.matrix.row_layout
        return self._orthonormal(name, partial(times_tall, self.matrix.by_columns, right, target, self.width), target)

    def _orthonormal(self, name: str, product: Callable[[], Any], layout: Layout) -> tuple[Tall, Dense]:
        factored = self.stages.table(name, product)
        held: list[Any] = []

        def tree() -> Any:
            paths, levels = tree_paths(factored, layout, self.width, self.fan_in)
            held.extend(levels)
            return paths

        paths = self.stages.table(f"{name}-paths", tree)
        for frame in held:
            frame.unpersist()
        with reading_blocks(self.stages.session):
            upper = floats(paths.filter(f"number = {ROOT}").first()["p"], columns=self.width)
        return Tall(factored, paths.filter(f"number <> {ROOT}"), layout), upper

    def vectors(self, name: str, tall: Tall, inner: Dense) -> Any:
        """The table of Q @ inner, tile by tile, each with its columns' entries of greatest magnitude."""
        work = _Vectors(tall.layout, self.width, np.ascontiguousarray(inner))
        tasks = min(tall.layout.numbers, 4 * tall.layout.bands)

        def made() -> Any:
            from pyspark.sql import functions as F

            paths = tall.paths.select("number", F.lit(False).alias("dense"), F.col("p").alias("values"))
            tiles = tall.factored.select("number", F.lit(True).alias("dense"), F.col("q").alias("values"))
            order = ["number", "dense"]
            return sorted_stream(paths.union(tiles), work.rotated, _VECTORS_SCHEMA, "number", order, tasks)

        return self.stages.table(name, made)


@dataclass(frozen=True)
class _Vectors:
    """The last rotation of one factor's tiles, sent to the executors."""

    layout: Layout
    width: int
    inner: Dense

    def rotated(self, batches: Batches) -> Batches:
        path = np.empty((0, self.width))
        for row in rows_of(batches):
            if not row["dense"]:
                path = floats(row["values"], columns=self.width)
                continue
            vectors = floats(row["values"], columns=len(path)) @ (path @ self.inner)
            places = np.abs(vectors).argmax(axis=0)
            peaks = vectors[places, np.arange(vectors.shape[1])]
            rows = self.layout.rows_of_tile(row["number"])[places]
            yield record(_VECTORS, number=row["number"], values=vectors, peaks=peaks, peak_rows=rows)


def _signs(left_vectors: Any, kept: int) -> Dense:
    """1 or -1 for each column: what makes the left vector's largest entry (the first of equals) positive."""
    peaks, rows = np.zeros(kept), np.full(kept, np.iinfo(np.int64).max)
    with reading_blocks(left_vectors.sparkSession):
        for row in left_vectors.select("peaks", "peak_rows").toLocalIterator():
            here, where = floats(row["peaks"]).ravel(), np.frombuffer(row["peak_rows"], np.int64)
            larger = (np.abs(here) > np.abs(peaks)) | ((np.abs(here) == np.abs(peaks)) & (where < rows))
            peaks, rows = np.where(larger, here, peaks), np.where(larger, where, rows)
    return np.where(peaks < 0, -1.0, 1.0)
