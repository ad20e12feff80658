"""An HNSW graph over many rows of one merchant, built to a stated recall against the exact scan."""

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from candidates.config import IndexConfig
from candidates.errors import CandidatesError
from candidates.index.exact import NEVER, exact_search

logger = logging.getLogger(__name__)

EF_LADDER = (50, 60, 70, 85, 100, 120, 140, 170, 200, 280, 400, 560, 800, 1_600, 3_200)

_LANES = 16
"""hnswlib compares 16 numbers at a time and the rest one by one: rows are filled up with zeros to a multiple of it."""


@dataclass(frozen=True)
class GraphFacts:
    """What was measured when a graph was built; it travels in the bundle and in its manifest.

    Attributes:
        space: "l2": with one more dimension sqrt(M^2 - |v|^2) all rows have norm M, and the nearest row to (q, 0) is
            the one with the largest inner product (Bachrach et al., 2014); or "ip", raw, where "l2" misses the recall.
        items: rows in the graph. reachable: of them, how many one search with the largest ef found.
        ef: the search width that gave `recall` at `recall_at` against the exact scan.
        width: numbers per row of the graph, with what the space adds and the zeros that fill it up.
    """

    space: Literal["ip", "l2"]
    items: int
    reachable: int
    ef: int
    recall: float
    recall_at: int
    largest_norm: float
    width: int


class GraphIndex:
    """An HNSW graph over the available rows of one merchant."""

    def __init__(self, graph: Any, facts: GraphFacts) -> None:
        self._graph, self.facts = graph, facts
        graph.set_num_threads(1)
        graph.set_ef(facts.ef)  # hnswlib forgets it on loading

    def search(
        self, query: NDArray[np.float32], k: int, excluded: NDArray[np.integer]
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]] | None:
        """As `exact_search`, approximately; None where k is more than the graph can give."""
        wanted = k + len(excluded)
        if wanted > self.facts.reachable:
            return None
        try:
            labels, distances = _search(self._graph, self.facts, query[None], wanted)
        except RuntimeError:  # this query reached fewer rows than the one that `reachable` was measured with
            return None
        rows, scores = labels[0], _inner_products(self.facts, query[None], distances)[0]
        kept = ~np.isin(rows, excluded) if len(excluded) else slice(None)
        return rows[kept][:k], scores[kept][:k]

    def save(self, path: Path) -> None:
        self._graph.save_index(str(path))

    @classmethod
    def load(cls, path: Path, facts: Mapping[str, Any], dimension: int) -> "GraphIndex":
        """Raises CandidatesError if the file is not the index that the facts describe."""
        import hnswlib

        known = GraphFacts(**{"width": dimension + (facts["space"] == "l2"), **facts})  # none was filled up once
        graph = hnswlib.Index(space=known.space, dim=known.width)
        try:
            graph.load_index(str(path), max_elements=known.items)
        except RuntimeError as error:
            raise CandidatesError(f"{path}: expected an HNSW index of {known.items} items, found {error}") from None
        return cls(graph, known)


def build_graph(
    vectors: NDArray[np.float32], queries: NDArray[np.float32], config: IndexConfig, seed: int = 0, threads: int = 1
) -> GraphIndex | None:
    """A graph whose ef is the least of EF_LADDER that reaches the wanted recall; None if none does (then scan).

    Args:
        vectors: float32 [n, d], rows with a bias of NEVER are left out.
        queries: float32 [q, d], users like those who will ask.
    """
    rows = np.flatnonzero(vectors[:, -1] > NEVER / 2)
    k = min(config.recall_at, len(rows))
    exact = [exact_search(vectors, query, k)[0] for query in queries]
    norms = np.linalg.norm(vectors[rows], axis=1)
    spaces: tuple[Literal["ip", "l2"], ...] = ("l2", "ip")  # raw inner product can leave rows that no search reaches
    for space in spaces:
        graph = _grow(vectors, rows, space, float(norms.max()), config, seed, threads)
        facts = GraphFacts(space, len(rows), 0, EF_LADDER[-1], 0.0, k, float(norms.max()), graph.dim)
        facts = GraphFacts(**{**asdict(facts), "reachable": _reachable(graph, facts, queries[:1])})
        for ef in EF_LADDER:
            if ef < k or facts.reachable < 0.99 * len(rows):
                continue
            graph.set_ef(ef)
            labels, _ = _search(graph, facts, queries, k)
            hits = sum(len(np.intersect1d(one, best)) for one, best in zip(labels, exact, strict=True))
            recall = hits / max(1, k * len(queries))
            if recall >= config.recall:
                return GraphIndex(graph, GraphFacts(**{**asdict(facts), "ef": ef, "recall": recall}))
        logger.info("an HNSW graph in %s space over %d items misses recall %.2f", space, len(rows), config.recall)
    return None


def _grow(
    vectors: NDArray[np.float32],
    rows: NDArray[np.int64],
    space: str,
    largest: float,
    config: IndexConfig,
    seed: int,
    threads: int,
) -> Any:
    import hnswlib

    own = vectors.shape[1]
    width = -(-(own + (space == "l2")) // _LANES) * _LANES
    points = np.zeros((len(rows), width), np.float32)
    points[:, :own] = vectors[rows]
    if space == "l2":
        lengths = np.einsum("nd,nd->n", points, points, dtype=np.float64)
        points[:, own] = np.sqrt(np.maximum(largest**2 - lengths, 0))
    graph = hnswlib.Index(space=space, dim=points.shape[1])
    graph.init_index(len(rows), M=config.links, ef_construction=config.ef_construction, random_seed=seed)
    graph.add_items(points, rows, num_threads=threads)
    return graph


def _search(
    graph: Any, facts: GraphFacts, queries: NDArray[np.float32], k: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    filled = np.zeros((len(queries), facts.width), np.float32)
    filled[:, : queries.shape[1]] = queries
    labels, distances = graph.knn_query(filled, k=k, num_threads=1)
    return labels.astype(np.int64), distances


def _inner_products(
    facts: GraphFacts, queries: NDArray[np.float32], distances: NDArray[np.float32]
) -> NDArray[np.float32]:
    """hnswlib's distances back to <q, v>: 1 - <q, v>, or |q|^2 + M^2 - 2 <q, v>."""
    if facts.space == "ip":
        return 1 - distances
    lengths = (queries**2).sum(axis=1, keepdims=True)
    return ((lengths + facts.largest_norm**2 - distances) / 2).astype(np.float32)


def _reachable(graph: Any, facts: GraphFacts, query: NDArray[np.float32]) -> int:
    """How many rows a search can find at all, to half a percent: hnswlib raises when it is asked for more."""
    found, too_many = 0, facts.items + 1
    wanted = facts.items
    while too_many - found > max(1, facts.items // 200):
        graph.set_ef(wanted)
        try:
            _search(graph, facts, query, wanted)
        except RuntimeError:
            too_many = wanted
        else:
            found = wanted
        wanted = (found + too_many) // 2
    return found
