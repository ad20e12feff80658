"""The best rows among those that pass a filter.

Few rows that pass are scanned. Where many do, a merchant's graph is asked for more rows than are wanted, so that
enough of them pass; where the user's taste lies elsewhere, for more again, as long as that is less work than a scan.
The rows of a filter that is asked for again are kept side by side, where that makes a scan the least work.
"""

from collections import OrderedDict
from collections.abc import Hashable
from math import ceil
from threading import Lock
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

_SCANNED_PER_STEP = 100
"""So many rows that lie side by side cost about what a step does."""

_FEW = 2_000
"""Rows that are gathered anew each time."""

KEPT_BYTES = 16 * 2**20
"""Of rows kept side by side, in all; and the share of it that one filter may take."""
_MOST_OF_KEPT = 0.5
_REMEMBERED = 256
"""Filters whose first request is remembered."""

_SCAN_ALL = 0.4
"""Of the rows: if more than so many pass, scanning all of them is faster than gathering those that do."""

_AT_ONCE = 1_024
"""Rows gathered at once: they stay in the processor's cache."""


class RowFilter(Protocol):
    """Which rows of a slice pass.

    Attributes:
        count: how many, about.
        key: the same for the same filter of the same slice.
    """

    count: int
    key: Hashable

    def passes(self, rows: NDArray[np.integer]) -> NDArray[np.bool_]:
        """bool [len(rows)]."""
        ...

    def rows(self) -> NDArray[np.int32]:
        """int32, ascending: all that do."""
        ...


class SideBySide:
    """The vectors of filters that were asked for more than once, newest last. Safe to call from several threads."""

    def __init__(self) -> None:
        self._kept: OrderedDict[Hashable, tuple[NDArray[np.int32], NDArray[np.float32]] | None] = OrderedDict()
        self._bytes, self._lock = 0, Lock()

    def of(
        self, vectors: NDArray[np.float32], allowed: RowFilter
    ) -> tuple[NDArray[np.int32], NDArray[np.float32]] | None:
        """(rows, their vectors); None for a filter's first request, and where they would take too much room."""
        if allowed.count * vectors.shape[1] * 4 > _MOST_OF_KEPT * KEPT_BYTES:
            return None
        with self._lock:
            asked_before = allowed.key in self._kept
            found = self._kept.setdefault(allowed.key, None)
            self._kept.move_to_end(allowed.key)
            if not asked_before and len(self._kept) > _REMEMBERED:
                self._drop_oldest()
        if found is not None or not asked_before:
            return found
        rows = allowed.rows()
        found = rows, vectors[rows]
        with self._lock:
            if self._kept.get(allowed.key) is None:
                self._kept[allowed.key] = found
                self._bytes += found[1].nbytes
            while self._bytes > KEPT_BYTES:
                self._drop_oldest()
        return found

    def _drop_oldest(self) -> None:
        _, dropped = self._kept.popitem(last=False)
        self._bytes -= 0 if dropped is None else dropped[1].nbytes


def filtered_search(
    graph: GraphIndex | None,
    vectors: NDArray[np.float32],
    query: NDArray[np.float32],
    k: int,
    excluded: NDArray[np.int32],
    allowed: RowFilter,
    kept: SideBySide | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The k rows that pass with the largest inner product with query [d + 1], as `exact_search`; through the graph
    (None: there is none, or none that fits the query) approximately.

    Args:
        vectors: float32 [n, d + 1]. excluded: rows that are left out.
    """
    wanted = ceil(_MORE * k * len(vectors) / max(allowed.count, 1))
    steps = _STEPS_OF_A_SEARCH + wanted if graph is not None else allowed.count / _GATHERED_PER_STEP
    if kept is not None and allowed.count > _FEW and allowed.count / _SCANNED_PER_STEP < 0.7 * steps:
        together = kept.of(vectors, allowed)
        if together is not None:
            rows, own = together
            places = np.searchsorted(rows, excluded)
            inside = places < len(rows)
            left_out = places[inside][rows[places[inside]] == excluded[inside]]
            best, scores = best_rows(own @ query, k, left_out)
            return rows[best].astype(np.int64), scores
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
