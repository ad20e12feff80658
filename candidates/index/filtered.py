"""The best rows among those that pass a filter.

Few rows that pass are scanned. Where many do, a merchant's graph is asked for more rows than are wanted, so that
enough of them pass; where the user's taste lies elsewhere, for more again, as long as that is less work than a scan.
"""

from math import ceil
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from candidates.index.exact import NEVER, best_rows
from candidates.index.graph import GraphIndex

_MORE = 1.15
"""What is fetched beyond the number that would do if rows passed evenly."""

_STEPS_OF_A_SEARCH = 100
_GATHERED_PER_STEP = 30
"""A search of width ef costs about 100 + ef steps; so many rows, gathered and scanned, cost about what a step does."""

_SCAN_ALL = 0.4
"""Of the rows: if more than so many pass, scanning all of them is faster than gathering those that do."""

_AT_ONCE = 1_024
"""Rows gathered at once: they stay in the processor's cache."""


class RowFilter(Protocol):
    """Which rows of a slice pass.

    Attributes:
        count: how many, about.
    """

    count: int

    def passes(self, rows: NDArray[np.integer]) -> NDArray[np.bool_]:
        """bool [len(rows)]."""
        ...

    def rows(self) -> NDArray[np.int32]:
        """int32, ascending: all that do."""
        ...


def filtered_search(
    graph: GraphIndex | None,
    vectors: NDArray[np.float32],
    query: NDArray[np.float32],
    k: int,
    excluded: NDArray[np.int32],
    allowed: RowFilter,
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The k rows that pass with the largest inner product with query [d + 1], as `exact_search`; through the graph
    (None: there is none, or none that fits the query) approximately.

    Args:
        vectors: float32 [n, d + 1]. excluded: rows that are left out.
    """
    if graph is not None:
        found = _fetched(graph, len(vectors), query, k, excluded, allowed)
        if found is not None:
            return found
    return _scanned(vectors, query, k, excluded, allowed.rows())


def _fetched(
    graph: GraphIndex,
    count: int,
    query: NDArray[np.float32],
    k: int,
    excluded: NDArray[np.int32],
    allowed: RowFilter,
) -> tuple[NDArray[np.int64], NDArray[np.float32]] | None:
    """From the graph; None where that would be more work than a scan, or the graph gives no more rows."""
    if allowed.count <= k:
        return None
    most = allowed.count / _GATHERED_PER_STEP - _STEPS_OF_A_SEARCH
    wanted = ceil(_MORE * k * count / allowed.count)
    while max(wanted + len(excluded), graph.facts.ef) <= most:
        found = graph.search(query, wanted, excluded)
        if found is None:
            return None
        rows, scores = found
        kept = np.flatnonzero(allowed.passes(rows))[:k]
        if len(kept) == k:
            return rows[kept], scores[kept]
        wanted = max(2 * wanted, ceil(_MORE * k * len(rows) / max(len(kept), 1)))
    return None


def _scanned(
    vectors: NDArray[np.float32],
    query: NDArray[np.float32],
    k: int,
    excluded: NDArray[np.int32],
    rows: NDArray[np.int32],
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    if len(rows) > _SCAN_ALL * len(vectors):
        whole = np.full(len(vectors), NEVER)
        whole[rows] = (vectors @ query)[rows]
        return best_rows(whole, k, excluded)
    if len(excluded):
        rows = np.setdiff1d(rows, excluded, assume_unique=True)
    scores = np.empty(len(rows), np.float32)
    gathered = np.empty((min(len(rows), _AT_ONCE), vectors.shape[1]), np.float32)
    for start in range(0, len(rows), _AT_ONCE):
        part = rows[start : start + _AT_ONCE]
        some = gathered[: len(part)]
        np.take(vectors, part, axis=0, out=some, mode="clip")  # "clip": else it is buffered once more
        np.dot(some, query, out=scores[start : start + len(part)])
    best, of_best = best_rows(scores, k)
    return rows[best].astype(np.int64), of_best
