"""An HNSW graph over many rows of one merchant, built to a stated recall against the exact scan.

Maximum inner product search becomes a search for the nearest row by one more dimension sqrt(M^2 - |v|^2), which gives
all rows the norm M: for a query (q, 0) the nearest row is the one with the largest inner product (Bachrach et al.,
2014). A few rows of very large norm spoil that: M dwarfs what tells all others apart. So where norms spread widely,
the rows of the largest norms stay out of the graph and are scanned beside it, as norm-ranging does it with hash tables
(Yan et al., 2018); M is then the largest norm that is left.

Of equal rows the first alone is in the graph, the others are its copies: many equal rows are each other's only
neighbours, and nothing leads to them or away.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from candidates.errors import CandidatesError
from candidates.index.choices import surely
from candidates.index.exact import best_rows, exact_search
from data.ids import load_array

EF_LADDER = (50, 60, 70, 85, 100, 120, 140, 170, 200, 280, 400, 560, 800, 1_600, 3_200)


@dataclass(frozen=True)
class GraphFacts:
    """What was measured when a graph was built; it travels in the bundle and in its manifest.

    Attributes:
        space: "l2", with the further dimension; or "ip", raw, as some older bundles have it.
        items: rows in the graph. reachable: of them, how many one search with the largest ef found.
        ef: the search width that gave `recall` at `recall_at` against the exact scan; recall_p5: what all but one in
            twenty queries had.
        largest_norm: M, of the rows in the graph.
        width: numbers per row of the graph, with what the space adds and the zeros that fill it up.
        scanned: rows of larger norms, scanned beside the graph. copies: rows equal to one in the graph.
    """

    space: Literal["ip", "l2"]
    items: int
    reachable: int
    ef: int
    recall: float
    recall_at: int
    largest_norm: float
    width: int
    scanned: int = 0
    recall_p5: float = 0.0
    copies: int = 0

    @classmethod
    def read(cls, path: Path, found: Mapping[str, Any], dimension: int) -> "GraphFacts":
        """Raises CandidatesError if what was found beside the graph at `path` are not such facts."""
        try:
            return cls(**{"width": dimension + (found["space"] == "l2"), **found})  # none was filled up once
        except (TypeError, KeyError) as error:
            raise CandidatesError(f"{path}: expected the facts of a graph beside it, found {error}") from None


held_graphs: dict[Path, Any] = {}
"""By the file: graphs that `load` takes as they are. A process that loads them before it forks shares their pages."""


class GraphIndex:
    """A graph over the available rows of one merchant, and the rows that are scanned beside it.

    Args:
        rows: int32 [items], the merchant's row behind each label of the graph; None: labels are rows.
        scanned: int32 [s], the rows that are scanned. scanned_vectors: float32 [s, d + 1].
        copies: int32 [c, 2], (row in the graph, row equal to it), ascending.
    """

    def __init__(
        self,
        graph: Any,
        facts: GraphFacts,
        rows: NDArray[np.int32] | None,
        scanned: NDArray[np.int32],
        scanned_vectors: NDArray[np.float32],
        copies: NDArray[np.int32] | None = None,
    ) -> None:
        self._graph, self.facts, self.rows, self.scanned = graph, facts, rows, scanned
        self._scanned_vectors = scanned_vectors
        self.copies = np.empty((0, 2), np.int32) if copies is None else copies
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
            labels, distances = self._graph.knn_query(self._lifted(query[None]), k=wanted, num_threads=1)
        except RuntimeError:  # this query reached fewer rows than the one that `reachable` was measured with
            return None
        rows, scores = labels[0].astype(np.int64), self._inner_products(query, distances[0])
        if self.rows is not None:
            rows = self.rows[rows].astype(np.int64)
        if len(self.copies):
            rows, scores = _with_copies(self.copies, rows, scores, wanted)
        if len(self.scanned):
            beside, of_beside = best_rows(self._scanned_vectors @ query, wanted)
            rows, scores = np.concatenate([rows, self.scanned[beside]]), np.concatenate([scores, of_beside])
            order = np.argsort(-scores, kind="stable")[:wanted]
            rows, scores = rows[order], scores[order]
        kept = ~np.isin(rows, excluded) if len(excluded) else slice(None)
        return rows[kept][:k], scores[kept][:k]

    @property
    def in_graph(self) -> NDArray[np.int32]:
        """int32 [items]: the merchant's row behind each label of the graph."""
        return np.arange(self.facts.items, dtype=np.int32) if self.rows is None else self.rows

    def moved(self, rows: NDArray[np.int32], added: NDArray[np.int32], vectors: NDArray[np.float32]) -> "GraphIndex":
        """The same graph after its merchant's rows moved, the `added` rows scanned beside it.

        Args:
            rows: int32 [n], where each row of before stands now.
            vectors: float32 [n', d + 1], all rows as they are now.
        """
        scanned = np.union1d(rows[self.scanned], added).astype(np.int32)
        facts = replace(self.facts, scanned=len(scanned))
        inside, copies = rows[self.in_graph].astype(np.int32), in_order(rows[self.copies])
        return GraphIndex(self._graph, facts, inside, scanned, vectors[scanned], copies)

    def recalls_of(self, queries: NDArray[np.float32], best: list[NDArray[np.int64]]) -> NDArray[np.float64]:
        """float64 [q]: the share of each query's best rows, from `exact_search`, that a search for as many finds."""
        nothing, recalls = np.empty(0, np.int64), np.ones(len(best))
        for place, (query, rows) in enumerate(zip(queries, best, strict=True)):
            found = self.search(query, len(rows), nothing)
            if found is not None and len(rows):
                recalls[place] = len(np.intersect1d(found[0], rows)) / len(rows)
        return recalls

    def calibrated(
        self, vectors: NDArray[np.float32], queries: NDArray[np.float32], wanted: float
    ) -> "GraphIndex | None":
        """With the least ef of EF_LADDER that gives queries like these a recall of `wanted`; None if none does.

        Args:
            vectors: float32 [n, d + 1], all of the merchant's rows. queries: float32 [q, d + 1].
        """
        best = [exact_search(vectors, query, self.facts.recall_at)[0] for query in queries]
        for ef in EF_LADDER:
            if ef < self.facts.recall_at:
                continue
            self._graph.set_ef(ef)
            recalls = self.recalls_of(queries, best)
            if surely(recalls) >= wanted:
                lowest = float(np.quantile(recalls, 0.05))
                facts = replace(self.facts, ef=ef, recall=float(recalls.mean()), recall_p5=lowest)
                return GraphIndex(self._graph, facts, self.rows, self.scanned, self._scanned_vectors, self.copies)
        return None

    def save(self, folder: Path, name: str) -> None:
        """Writes name.hnsw, and name.scanned.npy, name.rows.npy and name.copies.npy where there are such rows."""
        self._graph.save_index(str(folder / f"{name}.hnsw"))
        np.save(folder / f"{name}.scanned.npy", self.scanned)
        if self.rows is not None:
            np.save(folder / f"{name}.rows.npy", self.rows)
        if len(self.copies):
            np.save(folder / f"{name}.copies.npy", self.copies)

    @classmethod
    def load(cls, folder: Path, name: str, found: Mapping[str, Any], vectors: NDArray[np.float32]) -> "GraphIndex":
        """From what `save` wrote; bundles of before have the graph's file alone.

        Args:
            found: the facts as they were read. vectors: float32 [n, d + 1], the merchant's rows.

        Raises:
            CandidatesError: a file is not the index that the facts describe, or does not fit the vectors.
        """
        path = folder / f"{name}.hnsw"
        facts = GraphFacts.read(path, found, vectors.shape[1])
        graph = held_graphs.get(path) or _read(path, facts)
        rows, scanned = (_optional_rows(folder / f"{name}.{part}.npy", len(vectors)) for part in ("rows", "scanned"))
        scanned = np.empty(0, np.int32) if scanned is None else scanned
        if (rows is not None and len(rows) != facts.items) or len(scanned) != facts.scanned:
            raise CandidatesError(
                f"{path}: expected {facts.items} rows in the graph and {facts.scanned} beside it, "
                f"found {'as many' if rows is None else len(rows)} and {len(scanned)}"
            )
        copies = _optional_rows(folder / f"{name}.copies.npy", len(vectors), 2) if facts.copies else None
        if facts.copies != (0 if copies is None else len(copies)):
            raise CandidatesError(f"{path}: expected {facts.copies} copies of rows in the graph beside it")
        return cls(graph, facts, rows, scanned, vectors[scanned], copies)

    def _lifted(self, queries: NDArray[np.float32]) -> NDArray[np.float32]:
        """float32 [q, width]: the queries with a zero for all that their vectors lack."""
        filled = np.zeros((len(queries), self.facts.width), np.float32)
        filled[:, : queries.shape[1]] = queries
        return filled

    def _inner_products(self, query: NDArray[np.float32], distances: NDArray[np.float32]) -> NDArray[np.float32]:
        """hnswlib's distances back to <q, v>: 1 - <q, v>, or |q|^2 + M^2 - 2 <q, v>."""
        if self.facts.space == "ip":
            return 1 - distances
        return ((query @ query + np.float32(self.facts.largest_norm**2) - distances) / 2).astype(np.float32)


def hold_graph(path: Path, index: GraphIndex) -> None:
    """Have `GraphIndex.load` take the graph of this index for what the file holds."""
    held_graphs[path] = index._graph


def _read(path: Path, facts: GraphFacts) -> Any:
    import hnswlib

    graph = hnswlib.Index(space=facts.space, dim=facts.width)
    try:
        graph.load_index(str(path), max_elements=facts.items)
    except RuntimeError as error:
        raise CandidatesError(f"{path}: expected an HNSW index of {facts.items} items, found {error}") from None
    return graph


def marked(index: GraphIndex, gone: NDArray[np.integer], back: NDArray[np.integer]) -> GraphIndex:
    """The same graph, changed in place: it finds the rows `gone` no more, and `back` again, where it has them.

    A copy stands in for a row that is gone; such a row, and a copy that is gone, are no more in the graph.
    """
    graph, rows, copies = index._graph, index.in_graph.copy(), index.copies[~np.isin(index.copies[:, 1], gone)]
    for label in np.flatnonzero(np.isin(rows, gone) & np.isin(rows, copies[:, 0])).tolist():
        own = copies[:, 0] == rows[label]
        rows[label] = copies[own, 1][0]
        copies[own, 0] = rows[label]
        copies = copies[copies[:, 0] != copies[:, 1]]
    hidden, shown = (np.flatnonzero(np.isin(rows, one)).tolist() for one in (gone, back))
    for change, labels in ((graph.mark_deleted, hidden), (graph.unmark_deleted, shown)):
        for label in labels:
            change(label)
    reachable = index.facts.reachable - len(hidden) + len(shown)
    facts = replace(index.facts, reachable=reachable, copies=len(copies))
    return GraphIndex(graph, facts, rows, index.scanned, index._scanned_vectors, in_order(copies))


def in_order(copies: NDArray[np.integer]) -> NDArray[np.int32]:
    """int32 [c, 2]: by the row in the graph, then by the copy."""
    found: NDArray[np.int32] = copies[np.lexsort((copies[:, 1], copies[:, 0]))].astype(np.int32)
    return found


def _with_copies(
    copies: NDArray[np.int32], rows: NDArray[np.int64], scores: NDArray[np.float32], wanted: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The best `wanted` of rows [n] and their copies, of equal scores the lower row first."""
    starts, ends = (np.searchsorted(copies[:, 0], rows, side=side) for side in ("left", "right"))
    lengths = ends - starts
    place = np.repeat(starts - np.cumsum(lengths) + lengths, lengths) + np.arange(lengths.sum())
    rows = np.concatenate([rows, copies[place, 1]])
    scores = np.concatenate([scores, np.repeat(scores, lengths)])
    order = np.lexsort((rows, -scores))[:wanted]
    return rows[order], scores[order]


def _optional_rows(path: Path, count: int, columns: int = 1) -> NDArray[np.int32] | None:
    if not path.exists():
        return None
    rows = load_array(path)
    whole = rows.shape[1:] == (columns,)[: columns - 1] and np.issubdtype(rows.dtype, np.integer)
    if not whole or (len(rows) and not 0 <= rows.min() <= rows.max() < count):
        raise CandidatesError(f"{path}: expected rows from 0 to {count - 1}, found {rows.dtype} of shape {rows.shape}")
    return rows
