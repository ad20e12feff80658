"""The upper part of a TSQR: the small R factors of a tall matrix's tiles, decomposed once more along a tree.

Demmel, Grigori, Hoemmen and Langou, "Communication-optimal parallel and sequential QR" (2012), with Q kept as in
Benson, Gleich and Demmel, "Direct QR factorizations for tall-and-skinny matrices in MapReduce" (2013). Only orthonormal
matrices are multiplied and nothing is inverted, so a rank-deficient (even a zero) matrix is no special case.
"""

from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from candidates.distributed.layout import Layout
from candidates.distributed.streams import Batches, floats, record, rows_of, sorted_stream

FAN_IN = 64
"""R factors that one task stacks."""

ROOT = -1

_NODE_SCHEMA = "node long, upper boolean, values binary"
_NODE = pa.schema([("node", pa.int64()), ("upper", pa.bool_()), ("values", pa.binary())])
_PATH_SCHEMA = "node long, values binary"
_PATH = pa.schema([("node", pa.int64()), ("values", pa.binary())])


@dataclass(frozen=True)
class _Level:
    """One level of the tree, sent to the executors."""

    width: int
    fan_in: int

    def stacked(self, batches: Batches) -> Batches:
        """R factors of siblings -> their parent's R (`upper`), and each one's slice of its Q."""
        for parent, rows in groupby(rows_of(batches), key=lambda row: row["node"] // self.fan_in):
            nodes, factors = [], []
            for row in rows:
                nodes.append(row["node"])
                factors.append(floats(row["values"], columns=self.width))
            inner, upper = np.linalg.qr(np.concatenate(factors))
            yield record(_NODE, node=parent, upper=True, values=upper)
            ends = np.cumsum([len(factor) for factor in factors])[:-1]
            for node, part in zip(nodes, np.split(inner, ends), strict=True):
                yield record(_NODE, node=node, upper=False, values=np.ascontiguousarray(part))

    def descended(self, batches: Batches) -> Batches:
        """Slices of siblings, after their parent's path -> each one's path."""
        for _, rows in groupby(rows_of(batches), key=lambda row: row["parent"]):
            path: NDArray[np.float64] | None = None
            for row in rows:
                if path is None:  # the parent's comes first: false sorts before true
                    path = floats(row["values"], columns=self.width)
                else:
                    part = floats(row["values"], columns=len(path))
                    yield record(_PATH, node=row["node"], values=part @ path)


def tree_paths(factored: Any, layout: Layout, width: int, fan_in: int = FAN_IN) -> tuple[Any, list[Any]]:
    """(the table of paths: number, band, tile, p; the frames it holds in memory, to be unpersisted after use).

    Beside the tiles' paths there is a row of number ROOT whose p is the root's R.

    Args:
        factored: number, r and others of every tile (`products.py`).
    """
    from pyspark.sql import functions as F

    nodes = factored.select(F.col("number").alias("node"), F.col("r").alias("values"))
    level, greatest, levels = _Level(width, fan_in), layout.numbers - 1, []
    while greatest > 0:
        greatest //= fan_in
        above = nodes.withColumn("parent", F.floor(F.col("node") / fan_in))
        found = sorted_stream(above, level.stacked, _NODE_SCHEMA, "parent", ["parent", "node"], greatest + 1).persist()
        levels.append(found)
        nodes = found.filter("upper").select("node", "values")
    paths = _slices(levels[-1]) if levels else _own_path(factored, width)
    for found in reversed(levels[:-1]):
        parent = F.floor(F.col("node") / fan_in)
        parents = paths.select(F.col("node").alias("parent"), F.lit(False).alias("child"), "node", "values")
        children = _slices(found).select(parent.alias("parent"), F.lit(True).alias("child"), "node", "values")
        order, tasks = ["parent", "child", "node"], layout.numbers // fan_in + 1
        paths = sorted_stream(parents.union(children), level.descended, _PATH_SCHEMA, "parent", order, tasks)
    number = F.col("node")
    band = F.when(number == ROOT, ROOT).otherwise(number % layout.bands).cast("int")
    tile = F.floor(number / layout.bands).cast("int")
    rows = paths.union(nodes.select(F.lit(ROOT).cast("long"), "values")).toDF("node", "values")
    return rows.select(
        number.alias("number"), band.alias("band"), tile.alias("tile"), F.col("values").alias("p")
    ), levels


def _slices(found: Any) -> Any:
    return found.filter("not upper").select("node", "values")


def _own_path(factored: Any, width: int) -> Any:
    """Of a matrix of one tile, which is its own root."""
    from pyspark.sql import functions as F

    return factored.select(F.col("number").alias("node"), F.lit(np.eye(width).tobytes()).alias("values"))
