"""The rows of one country cut by merchant: a slice is scanned exactly, or searched by the merchant's own graph."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from candidates.index.exact import cosine_search, exact_search, inverse_norms
from candidates.index.graph import GraphIndex
from candidates.proposals import NOTHING, Proposal


class MerchantIndexes:
    """The rows of one country cut by merchant, with a graph for the merchants that have one.

    Args:
        vectors: float32 [R, d + 1], the bias last.
        graphs: merchant position -> its graph.
        inverses: float32 [R], from `inverse_norms`; None (a bundle that was written without): made when needed.
    """

    def __init__(
        self,
        vectors: NDArray[np.float32],
        graphs: Mapping[int, GraphIndex],
        inverses: NDArray[np.float32] | None = None,
    ) -> None:
        self.vectors, self.graphs, self._inverses = vectors, graphs, inverses

    def search(
        self, merchant: int, start: int, end: int, query: NDArray[np.float32], k: int, excluded: NDArray[np.int32]
    ) -> Proposal:
        """The best k rows of start .. end - 1, without the `excluded` rows; row numbers in the proposal."""
        if k < 1 or start == end:
            return NOTHING
        excluded = excluded[(excluded >= start) & (excluded < end)] - start
        graph = self.graphs.get(merchant)
        found = graph.search(query, k, excluded) if graph is not None else None
        rows, scores = found or exact_search(self.vectors[start:end], query, k, excluded)
        return Proposal((rows + start).astype(np.int32), scores)

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
