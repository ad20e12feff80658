"""How good LED's vectors are on validation users, at a cost that lets hundreds of spectral ones be tried."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from candidates.best_of.unknown_items import UnknownItems
from candidates.config import SpectralValues
from candidates.encoder import CountryItems
from candidates.evaluation import HeldOut
from candidates.led.spectral import input_weights, spectral_biases
from candidates.led.vectors import LedVectors, user_vectors
from candidates.matrices.spectral import Spectrum, output_scale, singular_vectors
from candidates.proposals import NOTHING
from candidates.protocols.metrics import Measures
from candidates.protocols.splits import HeldOutUsers
from data.items import ItemTable

Products = Sequence[NDArray[np.float32]]
"""Inner products of validation users with the items they are asked about, [users, items] for each group of them."""


class ValidationScorer(ABC):
    """A measure of vectors on validation users. What changes an item's scores by one factor and one summand, as most
    spectral choices do, is measured from products that are kept.

    Attributes:
        measure: its name.
    """

    measure: str
    _kept: tuple[tuple[Spectrum, float, int], NDArray[np.floating], Products] | None = None

    def per_user(self, vectors: LedVectors) -> NDArray[np.float64]:
        """float64 [users]."""
        return self._per_user(
            self._products(vectors.inputs, vectors.vectors, vectors.length_power), None, vectors.biases
        )

    def of_spectrum(self, spectrum: Spectrum, values: SpectralValues, length_power: float) -> float:
        """The mean of `per_user` for the vectors that `LedVectors` has of this choice."""
        key = (spectrum, values.ridge, values.dimension)
        if self._kept is None or self._kept[0][0] is not spectrum or self._kept[0][1:] != key[1:]:
            vectors = singular_vectors(spectrum, values.ridge, values.dimension).astype(np.float32)
            inputs = vectors * input_weights(spectrum).astype(np.float32)[:, None]
            products = self._products(inputs, vectors, length_power)
            self._kept = (key, vectors, products)
        vectors, products = self._kept[1:]
        scale = output_scale(spectrum, values, vectors).astype(np.float32)
        biases = spectral_biases(spectrum, values, vectors, scale)
        return float(self._per_user(products, scale, biases).mean())

    @abstractmethod
    def _products(self, inputs: NDArray[np.float32], outputs: NDArray[np.float32], length_power: float) -> Products: ...

    @abstractmethod
    def _per_user(
        self, products: Products, scale: NDArray[np.float32] | None, biases: NDArray[np.float32]
    ) -> NDArray[np.float64]:
        """Of the scores products * scale + biases, [I] each."""


class NdcgScorer(ValidationScorer):
    """NDCG@k on held-out rows of a user-item matrix, the same as `evaluate` measures, from the targets' ranks alone."""

    def __init__(self, validation: HeldOutUsers, measures: Measures, seed: int) -> None:
        """`measures`: of which the deepest NDCG is taken. `seed`: of the draw of users where there are too many."""
        self.users = validation.sample(seed=seed)
        self._depth = max(measures.ndcg_at)
        self.measure = f"ndcg@{self._depth}"
        self._gains = 1 / np.log2(np.arange(2, self._depth + 2))
        self._ideal = np.cumsum(self._gains)

    def _products(self, inputs: NDArray[np.float32], outputs: NDArray[np.float32], length_power: float) -> Products:
        return [user_vectors(inputs, self.users.fold_in, length_power) @ outputs.T]

    def _per_user(
        self, products: Products, scale: NDArray[np.float32] | None, biases: NDArray[np.float32]
    ) -> NDArray[np.float64]:
        """User by user, so that a user's scores stay in the processor's cache."""
        found, (product,) = np.empty(len(self.users)), products
        told, targets = self.users.fold_in, self.users.targets
        scores = np.empty(product.shape[1], np.float32)
        for user in range(len(self.users)):
            np.multiply(product[user], 1 if scale is None else scale, out=scores)
            scores += biases
            scores[told.indices[told.indptr[user] : told.indptr[user + 1]]] = -np.inf
            found[user] = self._ndcg(scores, targets.indices[targets.indptr[user] : targets.indptr[user + 1]])
        return found

    def _ndcg(self, scores: NDArray[np.float32], targets: NDArray[np.integer]) -> float:
        ranks = np.array([rank(scores, target, self._depth) for target in targets.tolist()])
        return float(self._gains[ranks[ranks < self._depth]].sum() / self._ideal[min(self._depth, len(ranks)) - 1])


@dataclass(frozen=True)
class _Group:
    """Requests to one merchant, whose rows are start .. end - 1.

    Attributes:
        requests: int64 [r]. never: (rows of requests, items) that are not proposed: excluded or not available.
        targets: of each request, places in the slice, and how many hits the wanted number of targets is.
        unknown_hits: of each request, targets that the model does not know and that complete its proposal.
    """

    requests: NDArray[np.int64]
    start: int
    end: int
    never: tuple[NDArray[np.int64], NDArray[np.int64]]
    targets: list[NDArray[np.int64]]
    wanted: list[int]
    unknown_hits: list[int]


class RecallScorer(ValidationScorer):
    """Recall@k on held-out requests of one merchant each, as `evaluate_sources` measures it of the served LED."""

    def __init__(
        self, known: CountryItems, items: ItemTable, unknown: UnknownItems, requests: Sequence[HeldOut], k: int = 20
    ) -> None:
        self.measure, self._k = f"recall@{k}", k
        self._known, self._items, self._unknown = known, items, unknown
        histories = [known.rows_of(one.request.history.items) for one in requests]
        offsets = np.cumsum([0, *map(len, histories)])
        rows = np.concatenate([*histories, np.empty(0, np.int32)])
        parts = (np.ones(len(rows), np.float32), rows, offsets)
        self._histories = csr_matrix(parts, shape=(len(requests), len(known.items)))
        _, self._user = np.unique([one.request.user_id for one in requests], return_inverse=True)
        merchants = np.array([one.request.merchant for one in requests], np.int64)
        self._groups = [
            self._group(merchant, np.flatnonzero(merchants == merchant), requests) for merchant in np.unique(merchants)
        ]

    def _group(self, merchant: int, places: NDArray[np.int64], requests: Sequence[HeldOut]) -> _Group:
        start, end = self._known.slice_of(merchant)
        unavailable = np.flatnonzero(~np.asarray(self._items.available)[self._known.items[start:end]])
        never, targets, wanted, unknown_hits = [], [], [], []
        for place in places.tolist():
            request, asked = requests[place].request, requests[place].targets
            excluded = self._known.rows_of(request.exclude)
            excluded = excluded[(excluded >= start) & (excluded < end)] - start
            never.append(np.union1d(unavailable, excluded))
            rows = self._known.rows[asked]
            targets.append(np.setdiff1d(rows[rows >= 0] - start, never[-1]).astype(np.int64))
            wanted.append(min(self._k, len(asked)))
            missing = self._k - (end - start - len(never[-1]))
            completed = self._unknown.completed(NOTHING, merchant, missing, request.exclude)
            unknown_hits.append(int(np.isin(completed.items, asked).sum()))
        row = np.repeat(np.arange(len(places)), [len(one) for one in never])
        column = np.concatenate(never).astype(np.int64)
        return _Group(places, start, end, (row, column), targets, wanted, unknown_hits)

    def _products(self, inputs: NDArray[np.float32], outputs: NDArray[np.float32], length_power: float) -> Products:
        users = user_vectors(inputs, self._histories, length_power)
        return [users[one.requests] @ outputs[one.start : one.end].T for one in self._groups]

    def _per_user(
        self, products: Products, scale: NDArray[np.float32] | None, biases: NDArray[np.float32]
    ) -> NDArray[np.float64]:
        recalls = np.zeros(len(self._user))
        for group, product in zip(self._groups, products, strict=True):
            own = slice(group.start, group.end)
            scores = _scores(product, None if scale is None else scale[own], biases[own])
            scores[group.never] = -np.inf
            known = zip(scores, group.targets, group.unknown_hits, strict=True)
            hits = [
                more + sum(rank(row, item, self._k) < self._k for item in rows.tolist()) for row, rows, more in known
            ]
            recalls[group.requests] = np.array(hits) / group.wanted
        per_user: NDArray[np.float64] = np.bincount(self._user, recalls) / np.bincount(self._user)
        return per_user


def rank(scores: NDArray[np.float32], item: int, depth: int) -> int:
    """How many items rank above this one, of equal scores the lower column first; from `depth` on perhaps fewer."""
    score = scores[item]
    above = np.count_nonzero(scores > score)
    return int(above if above >= depth else above + np.count_nonzero(scores[:item] == score))


def _scores(
    products: NDArray[np.float32], scale: NDArray[np.float32] | None, biases: NDArray[np.float32]
) -> NDArray[np.float32]:
    """float32 [users, items], new."""
    return products + biases if scale is None else products * scale + biases
