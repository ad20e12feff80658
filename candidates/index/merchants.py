"""The rows of one country cut by merchant: a slice is scanned exactly, or searched by the merchant's own graph."""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from candidates.index.exact import cosine_search, exact_search, highest_biases, inverse_norms
from candidates.index.filtered import RowFilter, SideBySide, filtered_search
from candidates.index.graph import GraphIndex
from candidates.proposals import NOTHING, Proposal
from data.ids import load_array


class MerchantIndexes:
    """The rows of one country cut by merchant, with a graph for the merchants that have one.

    Args:
        vectors: float32 [R, d + 1], the bias last.
        graphs: merchant position -> its graph.
        inverses: float32 [R], from `inverse_norms`; None (a bundle that was written without): made when needed.
        highest: merchant position -> `highest_biases` of its rows, for merchants with a graph.
    """

    def __init__(
        self,
        vectors: NDArray[np.float32],
        graphs: dict[int, GraphIndex],
        inverses: NDArray[np.float32] | None = None,
        highest: Mapping[int, NDArray[np.int32]] | None = None,
    ) -> None:
        self.vectors, self.graphs, self._inverses = vectors, graphs, inverses
        self._highest, self._side_by_side = highest or {}, SideBySide()

    def search(
        self,
        merchant: int,
        start: int,
        end: int,
        query: NDArray[np.float32],
        k: int,
        excluded: NDArray[np.int32],
        allowed: RowFilter | None = None,
    ) -> Proposal:
        """The best k rows of start .. end - 1, without the `excluded` rows; row numbers in the proposal.

        Args:
            allowed: which of them may be found, counted from `start`; None: all.
        """
        if k < 1 or start == end:
            return NOTHING
        if len(excluded):
            excluded = excluded[(excluded >= start) & (excluded < end)] - start
        graph = self.graphs.get(merchant)
        if allowed is not None:
            known = graph if query[0] or query[:-1].any() else None
            own = self.vectors[start:end]
            rows, scores = filtered_search(known, own, query, k, excluded, allowed, self._side_by_side)
            return Proposal((rows + start).astype(np.int32), scores)
        if graph is None:
            found = None
        elif query[0] or query[:-1].any():
            found = graph.search(query, k, excluded)
        else:
            found = self._best_for_all(merchant, start, k, excluded)
        rows, scores = found or exact_search(self.vectors[start:end], query, k, excluded)
        return Proposal((rows + start).astype(np.int32), scores)

    def _best_for_all(
        self, merchant: int, start: int, k: int, excluded: NDArray[np.int32]
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]] | None:
        """The highest biases, for somebody without history: a graph finds few of them, for nobody else asks so.

        None where too few are kept.
        """
        highest = self._highest.get(merchant)
        if highest is None or k + len(excluded) > len(highest):
            return None
        rows = highest[: k + len(excluded)].astype(np.int64)
        if len(excluded):
            rows = rows[~np.isin(rows, excluded)]
        return rows[:k], self.vectors[rows[:k] + start, -1]

    def similar(self, start: int, end: int, row: int, k: int, excluded: NDArray[np.int32]) -> Proposal:
        """The k available rows of start .. end - 1 whose vectors have the largest cosine with that of `row`, itself and
        the `excluded` rows left out; row numbers in the proposal. Always exact: a graph's metric is another one."""
        vectors, direction = self.vectors[start:end], self.vectors[row, :-1]
        if k < 1 or start == end or not direction.any():
            return NOTHING
        inverses = self._inverses[start:end] if self._inverses is not None else inverse_norms(vectors)
        excluded = np.append(excluded, np.int32(row))
        excluded = excluded[(excluded >= start) & (excluded < end)] - start
        rows, scores = cosine_search(vectors, inverses, direction, k, excluded)
        return Proposal((rows + start).astype(np.int32), scores)


def save_graphs(
    folder: Path, graphs: Mapping[int, GraphIndex], rows_of: Callable[[int], NDArray[np.float32]]
) -> dict[str, dict[str, Any]]:
    """Write each merchant's graph, and which of its rows have the highest biases; returns the graphs' facts.

    Args:
        rows_of: merchant position -> its vectors, float32 [n, d + 1].
    """
    for merchant, graph in graphs.items():
        graph.save(folder, str(merchant))
        np.save(folder / f"{merchant}.highest.npy", highest_biases(rows_of(merchant)))
    return {str(merchant): asdict(graph.facts) for merchant, graph in graphs.items()}


def load_graphs(
    folder: Path, facts: Mapping[str, Mapping[str, Any]], rows_of: Callable[[int], NDArray[np.float32]]
) -> tuple[dict[int, GraphIndex], dict[int, NDArray[np.int32]]]:
    """(graphs, rows of the highest biases), by merchant position, from what `save_graphs` wrote.

    Raises:
        CandidatesError: a graph's file is not what its facts describe. DataError: an array is missing or broken.
    """
    graphs, highest = {}, {}
    for name, found in facts.items():
        merchant = int(name)
        graphs[merchant] = GraphIndex.load(folder, name, found, rows_of(merchant))
        path = folder / f"{name}.highest.npy"
        highest[merchant] = load_array(path) if path.exists() else highest_biases(rows_of(merchant))
    return graphs, highest
