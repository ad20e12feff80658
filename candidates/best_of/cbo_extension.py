"""CBO with new items: they join the vectors that find a user's cluster, and the lists where its users put them."""

import shutil
from pathlib import Path
from typing import Any

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
    """The lists of before in positions of after, each with the new items that `fresh` has for it, by score.

    A list that was empty stays so: it sends its users to the merchant's best-of, which has the new items too.
    """
    diff, clusters = extension.diff, len(before.centroids)
    merchants = len(diff.after.merchants)
    cell = _cells(before)
    cell = cell // len(diff.merchants) * merchants + diff.merchants[cell % max(1, len(diff.merchants))]
    of_new = _cells(fresh)
    wanted = np.isin(fresh.items, diff.added) & np.isin(of_new, cell)
    cells = np.concatenate([cell, of_new[wanted]])
    items = np.concatenate([diff.moved[before.items], fresh.items[wanted]]).astype(np.int32)
    scores = np.concatenate([before.scores, fresh.scores[wanted]])
    order = np.lexsort((items, -scores, cells))
    cells, items, scores = cells[order], items[order], scores[order]
    lengths = np.bincount(cells, minlength=clusters * merchants)
    rank = np.arange(len(cells)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    kept = rank < extension.cbo.list_length
    lengths = np.minimum(lengths, extension.cbo.list_length)
    return ClusterLists(
        before.centroids, items[kept], scores[kept], np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    )


def _cells(lists: ClusterLists) -> NDArray[np.int64]:
    """int64 [L]: cluster * merchants + merchant of each listed item."""
    return np.repeat(np.arange(len(lists.offsets) - 1), np.diff(lists.offsets))


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
