"""CBO, the clustering best-of: the most popular items of a merchant among users who look alike across all merchants."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from candidates.best_of.gbo import GlobalBestOf, keep_mask
from candidates.encoder import CountryItems, read_countries, user_vector
from candidates.proposals import NOTHING, Proposal
from data.ids import load_array
from data.items import ItemTable
from data.request import Request


@dataclass(frozen=True)
class ClusterLists:
    """Best-of lists of C clusters at M merchants; an empty list sends the user to the merchant's best-of.

    Attributes:
        centroids: float32 [C, d], of unit-length mean item vectors.
        items: int32 [L], item positions, best first within a list; scores: float32 [L].
        offsets: int64 [C * M + 1]; cluster c at merchant m owns offsets[c * M + m] .. offsets[c * M + m + 1] - 1.
        hidden: lists of the items that are not available, for when they return; None: they were not kept.
    """

    centroids: NDArray[np.float32]
    items: NDArray[np.int32]
    scores: NDArray[np.float32]
    offsets: NDArray[np.int64]
    hidden: "ClusterLists | None" = None

    def list_of(self, cluster: int, merchant: int) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        merchants = (len(self.offsets) - 1) // len(self.centroids)
        if not 0 <= merchant < merchants:
            return self.items[:0], self.scores[:0]
        start, end = self.offsets[cluster * merchants + merchant : cluster * merchants + merchant + 2].tolist()
        return self.items[start:end], self.scores[start:end]


_LIST_ARRAYS = ("items", "scores", "offsets")


def unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows scaled to length 1; a zero row stays zero."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True).astype(np.float32)
    return np.asarray(vectors / np.where(lengths > 0, lengths, 1), np.float32)


@dataclass(frozen=True)
class ClusterCounts:
    """What the users of C clusters took.

    Attributes:
        item_users: float32 csr [C, I], users of the cluster who took the item: n_ci.
        merchant_users: int64 [C, M], those who took anything of the merchant: n_cm.
    """

    item_users: sparse.csr_array
    merchant_users: NDArray[np.int64]


@dataclass(frozen=True)
class ClusterVisits:
    """The keys that `ClusterCounts` are counted from: one for each user and item, and for each user and merchant.

    Attributes:
        merchant: int32 [I], of each item position. merchants: M.
    """

    merchant: NDArray[np.int32]
    merchants: int

    def keys(
        self, cluster: NDArray[np.integer], user: NDArray[np.integer], item: NDArray[np.integer]
    ) -> NDArray[np.int64]:
        """int64, any order.

        Args:
            cluster: [U], of each user. user, item: [N], distinct pairs of user and item position.
        """
        width = len(self.merchant) + self.merchants
        visits = np.unique(user.astype(np.int64) * self.merchants + self.merchant[item])
        of_item = cluster[user].astype(np.int64) * width + item
        of_merchant = cluster[visits // self.merchants].astype(np.int64) * width
        return np.concatenate([of_item, of_merchant + len(self.merchant) + visits % self.merchants])

    def counts(self, clusters: int, keys: NDArray[np.int64], counts: NDArray[np.int64]) -> ClusterCounts:
        """From distinct keys and how often each occurred."""
        cluster, column = np.divmod(keys, len(self.merchant) + self.merchants)
        is_item = column < len(self.merchant)
        place = (cluster[is_item], column[is_item])
        shape = (clusters, len(self.merchant))
        item_users = sparse.csr_array((counts[is_item].astype(np.float32), place), shape=shape)
        merchant_users = np.zeros((clusters, self.merchants), np.int64)
        merchant_users[cluster[~is_item], column[~is_item] - len(self.merchant)] = counts[~is_item]
        return ClusterCounts(item_users, merchant_users)


def cluster_lists(
    centroids: NDArray[np.float32],
    counts: ClusterCounts,
    popularity: NDArray[np.float32],
    merchant_users: NDArray[np.integer],
    items: ItemTable,
    prior_users: float,
    minimum_users: int,
    list_length: int,
) -> ClusterLists:
    """The best-of lists, each item scored by its smoothed share of the cluster's users at the merchant:

    (n_ci + prior_users * p_mi) / (n_cm + prior_users)

    with n_ci users of cluster c who took item i, n_cm those who took anything of its merchant m, and p_mi the item's
    share of all the merchant's users. Items nobody of the cluster took keep their place through the prior.

    Args:
        popularity: float32 [I], distinct users per item. merchant_users: [M], distinct users per merchant.
    """
    clusters, merchants = len(centroids), len(items.merchants)
    merchant = np.asarray(items.merchant)
    cell_users, taken = counts.merchant_users, counts.item_users
    share = popularity / np.maximum(merchant_users, 1)[merchant]
    available = np.asarray(items.available)
    served, hidden = _Lists([], [], []), _Lists([], [], [])
    for c in range(clusters):
        scores = prior_users * share
        row = slice(int(taken.indptr[c]), int(taken.indptr[c + 1]))
        np.add.at(scores, taken.indices[row], taken.data[row])
        scores /= (cell_users[c] + prior_users)[merchant]
        kept = (cell_users[c] >= minimum_users)[merchant] & (scores > 0)
        for lists, wanted in ((served, kept & available), (hidden, kept & ~available)):
            best, lengths = _best_of_each(scores, np.flatnonzero(wanted), merchant, merchants, list_length)
            lists.items.append(best.astype(np.int32))
            lists.scores.append(scores[best].astype(np.float32))
            lists.lengths.append(lengths)
    return served.of(centroids, hidden.of(centroids))


class _Lists(NamedTuple):
    """Of one cluster after the other: items by merchant, their scores, and how many each merchant has."""

    items: list[NDArray[np.int32]]
    scores: list[NDArray[np.float32]]
    lengths: list[NDArray[np.int64]]

    def of(self, centroids: NDArray[np.float32], hidden: ClusterLists | None = None) -> ClusterLists:
        offsets = np.concatenate([[0], np.cumsum(np.concatenate(self.lengths))])
        return ClusterLists(centroids, np.concatenate(self.items), np.concatenate(self.scores), offsets, hidden)


def _best_of_each(
    scores: NDArray[np.floating], kept: NDArray[np.int64], merchant: NDArray[np.int32], merchants: int, length: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(kept positions by merchant, best first, at most `length` of each; how many of each merchant)."""
    kept = kept[np.lexsort((kept, -scores[kept], merchant[kept]))]
    of_merchant = np.bincount(merchant[kept], minlength=merchants)
    rank = np.arange(len(kept)) - np.repeat(np.cumsum(of_merchant) - of_merchant, of_merchant)
    return kept[rank < length], np.minimum(of_merchant, length)


class CboCountry:
    """One country's clusters; the merchant's best-of stands behind every list."""

    name = "cbo"
    bounded = True

    def __init__(
        self, items: CountryItems, vectors: NDArray[np.float32], lists: ClusterLists, best_of: GlobalBestOf
    ) -> None:
        self.items, self.vectors, self.lists, self.best_of = items, vectors, lists, best_of
        self._half_norms = 0.5 * np.einsum("cd,cd->c", lists.centroids, lists.centroids)

    def cluster_of(self, history: NDArray[np.int32]) -> int | None:
        """The cluster of a user who took these item positions; None if the model knows none of them."""
        rows = self.items.rows_of(history)
        if not len(rows):
            return None
        user = user_vector(self.vectors, rows)
        length = math.sqrt(user @ user)
        return None if length == 0 else int((self.lists.centroids @ user / length - self._half_norms).argmax())

    def propose(self, request: Request, k: int) -> Proposal:
        cluster = self.cluster_of(request.history.items)
        if cluster is None:
            return self.best_of.propose(request, k)
        listed, scores = self.lists.list_of(cluster, request.merchant)
        if not len(listed):
            return self.best_of.propose(request, k)
        wanted = k + len(request.exclude)
        if request.allowed is not None:
            passing = request.allowed.passes(listed)
            listed, scores = listed[passing], scores[passing]
        listed, scores = listed[:wanted], scores[:wanted]
        if len(listed) < wanted:
            rest = self.best_of.best(request.merchant, wanted + len(listed), request.allowed)
            rest = rest[keep_mask(rest, listed)]
            scores = np.concatenate([scores, np.zeros(len(rest), np.float32)])
            listed = np.concatenate([listed, rest])
        if len(request.exclude):
            kept = keep_mask(listed, request.exclude)
            listed, scores = listed[kept], scores[kept]
        return Proposal(listed[:k], scores[:k])

    def save(self, folder: Path) -> None:
        self.items.save(folder)
        np.save(folder / "vectors.npy", self.vectors)
        for name in ("centroids", *_LIST_ARRAYS):
            np.save(folder / f"list_{name}.npy", getattr(self.lists, name))
        if self.lists.hidden is not None:
            for name in _LIST_ARRAYS:
                np.save(folder / f"hidden_{name}.npy", getattr(self.lists.hidden, name))

    @classmethod
    def load(cls, folder: Path, best_of: GlobalBestOf) -> "CboCountry":
        """From what `save` wrote; older bundles have no hidden lists."""
        centroids, hidden = load_array(folder / "list_centroids.npy"), None
        if (folder / "hidden_items.npy").exists():
            hidden = ClusterLists(centroids, *_arrays(folder, "hidden"))
        lists = ClusterLists(centroids, *_arrays(folder, "list"), hidden)
        return cls(CountryItems.load(folder), load_array(folder / "vectors.npy"), lists, best_of)


def _arrays(folder: Path, kind: str) -> tuple[NDArray[np.int32], NDArray[np.float32], NDArray[np.int64]]:
    items, scores, offsets = (load_array(folder / f"{kind}_{name}.npy") for name in _LIST_ARRAYS)
    return items, scores, offsets


class ClusteringBestOf:
    """Each country has its own clusters; a user from a country without any is looked at by the largest country's."""

    name = "cbo"
    bounded = True

    def __init__(self, countries: dict[str, CboCountry], largest: str, best_of: GlobalBestOf) -> None:
        self._countries, self._largest, self._best_of = countries, largest, best_of

    def propose(self, request: Request, k: int) -> Proposal:
        if k < 1:
            return NOTHING
        country = self._countries.get(request.country) or self._countries.get(self._largest)
        return self._best_of.propose(request, k) if country is None else country.propose(request, k)


def load(folder: Path, items: ItemTable) -> ClusteringBestOf:
    best_of = GlobalBestOf.load(folder / "gbo")
    known = read_countries(folder / "cbo")
    countries = {name: CboCountry.load(folder / "cbo" / str(place), best_of) for place, name in enumerate(known)}
    return ClusteringBestOf(countries, known[0] if known else "", best_of)
