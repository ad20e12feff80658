"""Best-of lists of clusters against a plain count, and the back-off."""

from typing import Any

import numpy as np

from candidates.best_of.cbo import CboCountry, ClusterCounts, ClusterVisits, cluster_lists, unit
from candidates.best_of.gbo import GlobalBestOf
from candidates.encoder import CountryItems
from data.request import History, Request


def counted(items: Any, clusters: int, cluster: np.ndarray, user: np.ndarray, item: np.ndarray) -> ClusterCounts:
    visits = ClusterVisits(items.merchant, len(items.merchants))
    keys, counts = np.unique(visits.keys(cluster, user, item), return_counts=True)
    return visits.counts(clusters, keys, counts)


def test_lists_hold_each_items_smoothed_share_of_the_clusters_users(trained: Any) -> None:
    items = trained.items
    rng = np.random.default_rng(0)
    users, clusters = 200, 4
    cluster = rng.integers(0, clusters, users)
    pairs = np.unique(np.stack([rng.integers(0, users, 3_000), rng.integers(0, len(items), 3_000)]), axis=1)
    user, item = pairs
    popularity = np.bincount(item, minlength=len(items)).astype(np.float32)
    merchant_users = np.array([len(np.unique(user[items.merchant[item] == m])) for m in range(len(items.merchants))])
    centroids = np.zeros((clusters, 2), np.float32)
    counts = counted(items, clusters, cluster, user, item)
    lists = cluster_lists(centroids, counts, popularity, merchant_users, items, 7.0, 3, 25)
    for c in range(clusters):
        for m in range(len(items.merchants)):
            own = np.arange(len(items))[items.slice_of(m)]
            visitors = len(np.unique(user[(cluster[user] == c) & (items.merchant[item] == m)]))
            score = {
                i: (((cluster[user] == c) & (item == i)).sum() + 7 * popularity[i] / merchant_users[m]) / (visitors + 7)
                for i in own.tolist()
                if items.available[i] and popularity[i] > 0
            }
            found, scores = lists.list_of(c, m)
            np.testing.assert_allclose(scores, sorted(score.values(), reverse=True)[:25], rtol=1e-5)
            np.testing.assert_allclose(scores, [score[i] for i in found.tolist()], rtol=1e-5)


def test_a_cluster_with_too_few_users_takes_the_merchants_best_of(trained: Any) -> None:
    items = trained.items
    user, item = np.array([0, 0, 1]), np.array([2, 3, 3])
    popularity = np.bincount([3] * 9 + [2] * 5 + [1] * 2, minlength=len(items)).astype(np.float32)
    vectors = np.eye(len(items), 4, dtype=np.float32)
    best_of = GlobalBestOf.of(popularity, items)
    counts = counted(items, 1, np.array([0, 0]), user, item)
    lists = cluster_lists(np.eye(1, 4, dtype=np.float32), counts, popularity, np.full(3, 9), items, 1.0, 3, 9)
    source = CboCountry(CountryItems.of(np.arange(len(items), dtype=np.int32), items), vectors, lists, best_of)
    history = History(np.array([0], np.int32), np.zeros(1, np.int8), np.zeros(1, np.int64))
    request = Request("u", 0, "AA", 1, history)
    assert source.propose(request, 3).items.tolist() == best_of.propose(request, 3).items.tolist() == [3, 2, 1]


def test_a_user_belongs_to_the_nearest_centroid(trained: Any) -> None:
    """In the inner product form: argmax <u, c> - |c|^2 / 2 is argmin |u - c|^2."""
    rng = np.random.default_rng(4)
    items = trained.items
    vectors = rng.standard_normal((len(items), 6)).astype(np.float32)
    centroids = rng.standard_normal((9, 6)).astype(np.float32)
    nobody = counted(items, 9, np.zeros(1, int), np.empty(0, int), np.empty(0, int))
    empty = cluster_lists(centroids, nobody, np.zeros(len(items), np.float32), np.zeros(3), items, 1.0, 1, 5)
    known = CountryItems.of(np.arange(len(items), dtype=np.int32), items)
    source = CboCountry(known, vectors, empty, GlobalBestOf.of(np.zeros(len(items), np.float32), items))
    for _ in range(50):
        history = rng.integers(0, len(items), 5).astype(np.int32)
        user = unit(vectors[np.unique(history)].mean(axis=0))
        assert source.cluster_of(history) == np.argmin(((user - centroids) ** 2).sum(axis=1))
    assert source.cluster_of(np.empty(0, np.int32)) is None
