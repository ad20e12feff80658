"""The search for the nearest items alone, beside faiss and usearch at equal recall: one query at a time, one thread.

    python bench/knn.py                                         10,000 and 100,000 items, about 4 minutes
    python bench/knn.py --items 10000,100000,1000000            about 40 minutes and 6 GiB
    python bench/knn.py --items 50000 --norm-spread 0,0.2,0.5,0.8,1.2

Every graph has the same links and the same construction width, and is searched with the least width of one ladder that
gives the recall, with 95 % confidence by calibration queries; times and recall are those of other queries, asked in
rounds that take turns between the searchers. faiss and usearch search the reduced space (one more dimension that makes
all norms equal), or raw inner products where that needs a lesser width. Without them (`pip install -e .[bench]`) the
others are printed.
"""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Annotated, Any, Literal

import numpy as np
import typer
from rich.table import Table
from vectors import DIMENSION, clustered_vectors, user_queries

from candidates.config import IndexConfig
from candidates.index import EF_LADDER, build_graph, exact_search, surely
from data.console import JsonOption, console, notices, set_up_logging, write_figures

Space = Literal["reduced", "raw"]

NOTHING = np.empty(0, np.int64)
_SLOW_EF = 200
ROUNDS = 3

Search = Callable[[np.ndarray], np.ndarray]
"""Rows int [k] of one query float32 [d + 1], best first."""


@dataclass(frozen=True)
class Searcher:
    """One way to search, ready to be asked.

    Attributes:
        ef: the calibrated width; None for a scan. reached: whether it gave the recall on the calibration queries.
    """

    name: str
    search: Search
    seconds: float
    ef: int | None = None
    reached: bool = True
    scanned: int = 0


@dataclass(frozen=True)
class Task:
    """What all searchers are given: vectors [n, d + 1], queries to calibrate with, and their best rows."""

    vectors: np.ndarray
    queries: np.ndarray
    best: list[np.ndarray]
    k: int
    recall: float
    config: IndexConfig
    threads: int

    def points(self, space: Space) -> np.ndarray:
        """The vectors, or float32 [n, d + 2]: all rows of the largest norm (Bachrach et al., 2014)."""
        if space == "raw":
            return self.vectors
        squares = np.einsum("nd,nd->n", self.vectors, self.vectors, dtype=np.float64)
        return np.column_stack([self.vectors, np.sqrt(squares.max() - squares).astype(np.float32)])


def tandem_graph(task: Task) -> Searcher | None:
    began = time.perf_counter()
    graph = build_graph(task.vectors, task.queries, task.config, 0, task.threads)
    if graph is None:
        return None
    seconds, facts = time.perf_counter() - began, graph.facts

    def search(query: np.ndarray) -> np.ndarray:
        found = graph.search(query, task.k, NOTHING)
        return found[0] if found is not None else exact_search(task.vectors, query, task.k)[0]

    return Searcher("Tandem, graph", search, seconds, facts.ef, True, facts.scanned)


def tandem_scan(task: Task) -> Searcher:
    return Searcher("Tandem, scan", lambda query: exact_search(task.vectors, query, task.k)[0], 0.0)


def faiss_flat(task: Task) -> Searcher:
    import faiss

    began = time.perf_counter()
    index = faiss.IndexFlatIP(task.vectors.shape[1])
    index.add(task.vectors)
    seconds = time.perf_counter() - began
    return Searcher("faiss, flat", lambda query: index.search(query[None], task.k)[1][0], seconds)


def faiss_graph(task: Task, space: Space) -> Searcher:
    import faiss

    began, points = time.perf_counter(), task.points(space)
    faiss.omp_set_num_threads(task.threads)
    metric = faiss.METRIC_L2 if space == "reduced" else faiss.METRIC_INNER_PRODUCT
    index = faiss.IndexHNSWFlat(points.shape[1], task.config.links, metric)
    index.hnsw.efConstruction = task.config.ef_construction
    index.add(points)
    faiss.omp_set_num_threads(1)

    def widen(ef: int) -> None:
        index.hnsw.efSearch = ef

    def search(query: np.ndarray) -> np.ndarray:
        return index.search(_lifted(query, space)[None], task.k)[1][0]

    ef, reached = _calibrated(task, widen, search)
    return Searcher(f"faiss, HNSW, {space}", search, time.perf_counter() - began, ef, reached)


def usearch_graph(task: Task, space: Space) -> Searcher:
    from usearch.index import Index

    began, points, config = time.perf_counter(), task.points(space), task.config
    index = Index(
        ndim=points.shape[1],
        metric="l2sq" if space == "reduced" else "ip",
        dtype="f32",
        connectivity=config.links,
        expansion_add=config.ef_construction,
        enable_key_lookups=False,
    )
    index.add(np.arange(len(points)), points, threads=task.threads)

    def widen(ef: int) -> None:
        index.expansion_search = ef

    def search(query: np.ndarray) -> np.ndarray:
        return index.search(_lifted(query, space), task.k, threads=1).keys.astype(np.int64)

    ef, reached = _calibrated(task, widen, search)
    return Searcher(f"usearch, {space}", search, time.perf_counter() - began, ef, reached)


def in_the_better_space(make: Callable[[Task, Space], Searcher], task: Task) -> Searcher:
    """In the reduced space; where that is slow to search, in the one of the two that needs the lesser width."""
    reduced = make(task, "reduced")
    if reduced.reached and (reduced.ef or 0) <= _SLOW_EF:
        return reduced
    raw = make(task, "raw")
    return min((reduced, raw), key=lambda one: (not one.reached, one.ef or 0))


def _lifted(query: np.ndarray, space: Space) -> np.ndarray:
    return np.append(query, np.float32(0)) if space == "reduced" else query


def _calibrated(task: Task, widen: Callable[[int], None], search: Search) -> tuple[int, bool]:
    """The least width of the ladder that gives the recall on the calibration queries, or the largest there is."""
    for ef in EF_LADDER:
        if ef < task.k:
            continue
        widen(ef)
        if surely(recalls_of(search, task.queries, task.best)) >= task.recall:
            return ef, True
    return EF_LADDER[-1], False


def recalls_of(search: Search, queries: np.ndarray, best: list[np.ndarray]) -> np.ndarray:
    """float64 [q]"""
    pairs = zip(queries, best, strict=True)
    return np.array([len(np.intersect1d(search(query), rows)) / len(rows) for query, rows in pairs])


def compare(
    vectors: np.ndarray,
    k: int = 50,
    recall: float = 0.95,
    queries: int = 500,
    seed: int = 0,
    threads: int = 4,
    ours: bool = True,
) -> dict[str, dict[str, Any]]:
    """Searcher -> microseconds p50 and p99, measured recall, ef, seconds to build. Without `ours`: the others alone."""
    config = IndexConfig(recall=recall, recall_at=k)
    calibration = user_queries(vectors, config.queries, seed + 1)
    best = [exact_search(vectors, query, k)[0] for query in calibration]
    task = Task(vectors, calibration, best, k, recall, config, threads)
    searchers = [tandem_graph(task), tandem_scan(task)] if ours else []
    if find_spec("faiss"):
        searchers += [in_the_better_space(faiss_graph, task), faiss_flat(task)]
    if find_spec("usearch"):
        searchers.append(in_the_better_space(usearch_graph, task))
    if not (find_spec("faiss") and find_spec("usearch")):
        notices.print("faiss or usearch is not installed (`pip install -e .[bench]`): compared without it")
    asked = user_queries(vectors, queries, seed + 2)
    there = [one for one in searchers if one is not None]
    taken = _times(there, asked)
    best = [exact_search(vectors, query, k)[0] for query in asked]
    return {
        one.name: {
            **{f"p{q}": float(np.percentile(taken[one.name], q)) for q in (50, 99)},
            "recall": float(recalls_of(one.search, asked, best).mean()),
            "ef": one.ef,
            "reached": one.reached,
            "scanned": one.scanned,
            "build_seconds": one.seconds,
        }
        for one in there
    }


def _times(searchers: list[Searcher], queries: np.ndarray) -> dict[str, list[float]]:
    """Microseconds of every query; in rounds, so that a busy moment of the machine does not fall on one alone."""
    taken: dict[str, list[float]] = {one.name: [] for one in searchers}
    for part in np.array_split(queries, ROUNDS):
        for one in searchers:
            for query in part[:20]:
                one.search(query)
            for query in part:
                began = time.perf_counter_ns()
                one.search(query)
                taken[one.name].append((time.perf_counter_ns() - began) / 1e3)
    return taken


def main(
    items: Annotated[str, typer.Option(help="Sizes of the catalogue, with commas.")] = "10000,100000",
    norm_spread: Annotated[str, typer.Option(help="Of the logarithm of the norms, with commas.")] = "0.2",
    k: Annotated[int, typer.Option(min=1, max=500)] = 50,
    recall: Annotated[float, typer.Option(min=0.1, max=1)] = 0.95,
    queries: Annotated[int, typer.Option(min=30)] = 1_000,
    threads: Annotated[int, typer.Option(min=1, help="That build the graphs; one searches.")] = os.cpu_count() or 1,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    json_file: JsonOption = None,
) -> None:
    """Print microseconds per search of each searcher at the recall asked for."""
    set_up_logging()
    figures: dict[str, Any] = {}
    for count in map(int, items.split(",")):
        for spread in map(float, norm_spread.split(",")):
            found = compare(clustered_vectors(count, seed, spread), k, recall, queries, seed, threads)
            figures[f"{count} items, norm spread {spread}"] = found
            title = f"{count:,} items, d = {DIMENSION}, norm spread {spread}, k = {k}, recall@{k} >= {recall}"
            console.print(table_of(title, found))
    write_figures(json_file, {"seed": seed, "queries": queries, "threads": threads, **figures})


def table_of(title: str, found: dict[str, dict[str, Any]]) -> Table:
    table = Table(title=title)
    for name in ("", "p50 µs", "p99 µs", "times the first", "recall", "ef", "build s"):
        table.add_column(name, justify="right" if name else "left")
    first = next(iter(found.values()))["p50"]
    for name, one in found.items():
        width = "" if one["ef"] is None else f"{one['ef']}" + (f" + {one['scanned']:,} rows" if one["scanned"] else "")
        missed = "" if one["reached"] else " (missed)"
        table.add_row(
            name,
            f"{one['p50']:,.0f}",
            f"{one['p99']:,.0f}",
            f"{one['p50'] / first:.2f}",
            f"{one['recall']:.3f}{missed}",
            width,
            f"{one['build_seconds']:.1f}",
        )
    return table


if __name__ == "__main__":
    typer.run(main)
