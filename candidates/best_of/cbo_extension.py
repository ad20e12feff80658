"""CBO with new items: they join the vectors that find a user's cluster, and the lists where its users put them."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from candidates.best_of.cbo import CboCountry, ClusterCounts, ClusterLists, cluster_lists
from candidates.best_of.gbo import GlobalBestOf
from candidates.cold_start.catalog_diff import CatalogDiff
from candidates.cold_start.extension import Extension, with_new_vectors
from candidates.encoder import read_countries


def extend_cbo(old: Path, new: Path, extension: Extension) -> dict[str, Any]:
    """Writes new/cbo from old/cbo."""
    best_of, before = GlobalBestOf.of(extension.popularity, extension.diff.after), GlobalBestOf.load(old / "gbo")
    for place, country in enumerate(read_countries(old / "cbo")):
        source = CboCountry.load(old / "cbo" / str(place), before)
        items, _, vectors = with_new_vectors(source.items, source.vectors, country, extension)
        lists = with_new_items(source.lists, _fresh_lists(source, country, extension), extension)
        CboCountry(items, vectors, lists, best_of).save(new / "cbo" / str(place))
    shutil.copy(old / "cbo" / "countries.json", new / "cbo" / "countries.json")
    return {}


def with_new_items(before: ClusterLists, fresh: ClusterLists, extension: Extension) -> ClusterLists:
    """The lists of before in positions of after, each with the new items that `fresh` has for it, by score; what is not
    available now in the hidden lists, and what is so again back from there.

    A list that was empty stays so: it sends its users to the merchant's best-of, which has the new items too.
    """
    diff = extension.diff
    available = np.asarray(diff.after.available)
    old = [_Listed.of(lists).moved(diff) for lists in (before, before.hidden) if lists is not None]
    known = [one.where(np.isin(one.cells, old[0].cells)) for one in old]
    listed = np.concatenate([_keys(one, len(available)) for one in known])
    new = _Listed.of(fresh)
    joins = np.isin(new.items, diff.added) | np.isin(new.items, diff.returned)
    new = new.where(joins & np.isin(new.cells, old[0].cells) & ~np.isin(_keys(new, len(available)), listed))
    every = _Listed(*(np.concatenate(columns) for columns in zip(*known, new, strict=True)))
    clusters, merchants, length = len(before.centroids), len(diff.after.merchants), extension.cbo.list_length
    served, hidden = (
        every.where(these[every.items]).lists(before.centroids, clusters * merchants, length)
        for these in (available, ~available)
    )
    return replace(served, hidden=hidden)


class _Listed(NamedTuple):
    """Listed items: cells int64 [L], cluster * merchants + merchant; items int32 [L]; scores float32 [L]."""

    cells: NDArray[np.int64]
    items: NDArray[np.int32]
    scores: NDArray[np.float32]

    @classmethod
    def of(cls, lists: ClusterLists) -> "_Listed":
        cells = np.repeat(np.arange(len(lists.offsets) - 1, dtype=np.int64), np.diff(lists.offsets))
        return cls(cells, np.asarray(lists.items), np.asarray(lists.scores))

    def moved(self, diff: CatalogDiff) -> "_Listed":
        """In positions of after."""
        cluster, merchant = np.divmod(self.cells, max(1, len(diff.merchants)))
        cells = cluster * len(diff.after.merchants) + diff.merchants[merchant].astype(np.int64)
        return _Listed(cells, diff.moved[self.items], self.scores)

    def where(self, kept: NDArray[np.bool_]) -> "_Listed":
        return _Listed(self.cells[kept], self.items[kept], self.scores[kept])

    def lists(self, centroids: NDArray[np.float32], cells: int, length: int) -> ClusterLists:
        """At most `length` of each cell, best first."""
        order = np.lexsort((self.items, -self.scores, self.cells))
        of_cell, items, scores = self.cells[order], self.items[order], self.scores[order]
        lengths = np.bincount(of_cell, minlength=cells)
        kept = np.arange(len(of_cell)) - np.repeat(np.cumsum(lengths) - lengths, lengths) < length
        offsets = np.concatenate([[0], np.cumsum(np.minimum(lengths, length))]).astype(np.int64)
        return ClusterLists(centroids, items[kept].astype(np.int32), scores[kept], offsets)


def _keys(listed: _Listed, items: int) -> NDArray[np.int64]:
    """int64 [L], one number for each cell and item."""
    return listed.cells * items + listed.items


def _fresh_lists(source: CboCountry, country: str, extension: Extension) -> ClusterLists:
    """Lists from the window alone: an item's score there is its smoothed share of the cluster's users in the window, as
    an old item's is of all training's. A user's cluster is that of their whole history of before."""
    diff, config = extension.diff, extension.cbo
    everyone, here = extension.evidence(extension.window), extension.evidence(extension.window, country)
    cluster = np.array([_cluster_of(source, name, extension) for name in _users_of(country, extension)], np.int64)
    known = np.flatnonzero(cluster >= 0)
    shape = (len(source.lists.centroids), len(cluster))
    member = sparse.csr_array((np.ones(len(known), np.float32), (cluster[known], known)), shape=shape)
    merchant_users = np.asarray((member @ _visits(here.taken, diff)).todense(), np.int64)
    return cluster_lists(
        source.lists.centroids,
        ClusterCounts(sparse.csr_array(member @ here.taken), merchant_users),
        np.asarray(everyone.taken.sum(axis=0)).ravel().astype(np.float32),
        np.asarray(_visits(everyone.taken, diff).sum(axis=0)).astype(np.int64).ravel(),
        diff.after,
        config.prior_users,
        config.minimum_users,
        len(diff.after),
    )


def _users_of(country: str, extension: Extension) -> list[str]:
    window = extension.window
    return [user for user, home in zip(window.users, window.countries, strict=True) if home == country]


def _cluster_of(source: CboCountry, user: str, extension: Extension) -> int:
    """-1 where the model of before knows nothing of the user's history."""
    known = extension.timelines
    place = int(np.searchsorted(known.users, user))
    cluster = source.cluster_of(extension.diff.back(known.history(place).items))
    return -1 if cluster is None else cluster


def _visits(taken: sparse.csr_array, diff: CatalogDiff) -> sparse.csr_array:
    """float32 csr [U, M'], 1 where a user took anything of the merchant; from binary [U, I']."""
    items, merchants = len(diff.after), len(diff.after.merchants)
    ones = np.ones(items, np.float32)
    of_merchant = sparse.csr_array((ones, (np.arange(items), diff.after.merchant)), shape=(items, merchants))
    return sparse.csr_array((taken @ of_merchant) > 0, dtype=np.float32)
