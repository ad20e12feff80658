"""Building a graph: which rows stand beside it, its width calibrated against the scan, and whether it is worth it."""

import logging
import time
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from candidates.config import IndexConfig
from candidates.index.choices import large_norms
from candidates.index.exact import NEVER, exact_search
from candidates.index.graph import EF_LADDER, GraphFacts, GraphIndex, in_order

logger = logging.getLogger(__name__)

_LANES = 16
"""hnswlib compares 16 numbers at a time and the rest one by one: rows are filled up with zeros to a multiple of it."""

WIDE_SHARE = 12
"""A twelfth of the rows, but only where the configured number of them leaves a graph that is slow to search."""
_SLOW_EF = 400

_TIMED = 50
"""Queries that decide whether a graph is faster than a scan."""

_SCANNED_PER_EF = 100
"""Scanning so many rows costs about what one more step of ef costs."""


def build_graph(
    vectors: NDArray[np.float32], queries: NDArray[np.float32], config: IndexConfig, seed: int = 0, threads: int = 1
) -> GraphIndex | None:
    """A graph whose ef is the least of EF_LADDER that reaches the wanted recall; None (then scan) if none does, or if a
    search then takes longer than the scan.

    Args:
        vectors: float32 [n, d + 1], rows with a bias of NEVER are left out.
        queries: float32 [q, d + 1], users like those who will ask.
    """
    rows = np.flatnonzero(vectors[:, -1] > NEVER / 2).astype(np.int32)
    norms = np.linalg.norm(vectors[rows], axis=1)
    found: list[GraphIndex] = []
    choices = (large_norms(norms, max(config.most_scanned, most)) for most in (0, len(rows) // WIDE_SHARE))
    for beside in {len(one): one for one in choices}.values():
        inside = np.setdiff1d(np.arange(len(rows)), beside)
        if not len(inside) or not len(queries):
            break
        index = _built(vectors, rows[inside], rows[beside], queries, config, seed, threads)
        calibrated = index.calibrated(vectors, queries, config.recall) if index is not None else None
        if calibrated is not None:
            found.append(calibrated)
            if calibrated.facts.ef <= _SLOW_EF:
                break
    if not found:
        logger.info("an HNSW graph over %d items misses recall %.2f: they are scanned", len(rows), config.recall)
        return None
    best = min(found, key=lambda one: one.facts.ef + one.facts.scanned / _SCANNED_PER_EF)
    if config.timed:
        of_graph, of_scan = seconds_of(best, vectors, queries[:_TIMED])
        if of_graph > of_scan:
            words = "a search of %d items with ef %d takes %.0f us, a scan %.0f: they are scanned"
            logger.info(words, len(rows), best.facts.ef, 1e6 * of_graph, 1e6 * of_scan)
            return None
    return best


def seconds_of(
    index: GraphIndex, vectors: NDArray[np.float32], queries: NDArray[np.float32], rounds: int = 3
) -> tuple[float, float]:
    """(a search, an exact scan of all rows [n, d + 1]): medians over queries of the fastest of `rounds`, in turn."""
    nothing, k = np.empty(0, np.int64), index.facts.recall_at
    taken = np.empty((2, rounds, len(queries)))
    for turn in range(rounds):
        for place, query in enumerate(queries):
            started = time.perf_counter()
            index.search(query, k, nothing)
            between = time.perf_counter()
            exact_search(vectors, query, k)
            taken[:, turn, place] = between - started, time.perf_counter() - between
    of_graph, of_scan = np.median(taken.min(axis=1), axis=1).tolist()
    return of_graph, of_scan


def _built(
    vectors: NDArray[np.float32],
    rows: NDArray[np.int32],
    scanned: NDArray[np.int32],
    queries: NDArray[np.float32],
    config: IndexConfig,
    seed: int,
    threads: int,
) -> GraphIndex | None:
    """A graph of `rows` that is yet to be calibrated; None if a hundredth of them or more cannot be reached."""
    rows, copies = _first_of_equals(vectors, rows)
    largest = float(np.linalg.norm(vectors[rows], axis=1).max())
    graph = _grow(vectors[rows], largest, config, seed, threads)
    k = min(config.recall_at, len(rows) + len(copies) + len(scanned))
    beside = {"scanned": len(scanned), "copies": len(copies)}
    facts = GraphFacts("l2", len(rows), len(rows), EF_LADDER[-1], 0.0, k, largest, graph.dim, **beside)
    index = GraphIndex(graph, facts, rows, scanned, vectors[scanned], copies)
    index.facts = replace(facts, reachable=reachable_rows(index, queries[0]))
    return index if index.facts.reachable >= 0.99 * len(rows) else None


def reachable_rows(index: GraphIndex, query: NDArray[np.float32]) -> int:
    """How many rows a search can find at all, to half a percent: hnswlib raises when it is asked for more."""
    found, too_many = 0, index.facts.items + 1
    wanted = index.facts.items
    while too_many - found > max(1, index.facts.items // 200):
        index._graph.set_ef(wanted)
        try:
            index._graph.knn_query(index._lifted(query[None]), k=wanted, num_threads=1)
        except RuntimeError:
            too_many = wanted
        else:
            found = wanted
        wanted = (found + too_many) // 2
    return found


def _first_of_equals(
    vectors: NDArray[np.float32], rows: NDArray[np.int32]
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """(the first row of each group of equal vectors, ascending; int32 [c, 2], (such a row, another of its group))."""
    own = np.ascontiguousarray(vectors[rows])
    whole = own.view(np.dtype((np.void, own.shape[1] * own.itemsize)))[:, 0]
    _, first, group = np.unique(whole, return_index=True, return_inverse=True)
    leader = rows[first[group]]
    others = leader != rows
    copies = np.stack([leader[others], rows[others]], axis=1)
    return rows[~others], in_order(copies)


def _grow(points: NDArray[np.float32], largest: float, config: IndexConfig, seed: int, threads: int) -> Any:
    import hnswlib

    own = points.shape[1]
    filled = np.zeros((len(points), -(-(own + 1) // _LANES) * _LANES), np.float32)
    filled[:, :own] = points
    lengths = np.einsum("nd,nd->n", points, points, dtype=np.float64)
    filled[:, own] = np.sqrt(np.maximum(largest**2 - lengths, 0))
    graph = hnswlib.Index(space="l2", dim=filled.shape[1])
    graph.init_index(len(points), M=config.links, ef_construction=config.ef_construction, random_seed=seed)
    graph.add_items(filled, np.arange(len(points)), num_threads=threads)
    return graph
