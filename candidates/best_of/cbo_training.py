"""Training CBO: users clustered across merchants by their mean item vector; held-out users choose how many clusters."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from threadpoolctl import threadpool_limits

from candidates.behaviour import UserItems
from candidates.best_of.cbo import CboCountry, ClusterCounts, ClusterVisits, cluster_lists, unit
from candidates.best_of.gbo import GlobalBestOf
from candidates.encoder import write_countries
from candidates.evaluation import evaluate_sources
from candidates.training_set import CountryTraining, TrainingSet
from data.request import HISTORY_LIMIT

logger = logging.getLogger(__name__)

_TOGETHER = 1 << 16
"""Users compared with the centroids at a time."""


def train(training: TrainingSet, folder: Path) -> dict[str, Any]:
    """Writes folder/cbo; returns per country the number of clusters and the validation recall of each tried."""
    metrics: dict[str, Any] = {}
    for place, country in enumerate(training.countries):
        source, metrics[country.country] = train_country(training, country)
        source.save(folder / "cbo" / str(place))
    write_countries(folder / "cbo", [country.country for country in training.countries])
    return metrics


def train_country(training: TrainingSet, country: CountryTraining) -> tuple[CboCountry, dict[str, Any]]:
    """Clusters at each size of the configuration; the one with the best validation recall@20 (the first of equals)."""
    config = training.config.cbo
    merchant_users = users_of_merchants(training)
    means = unit_means(
        training.behaviour.sample(country.country, config.sample_users), country.items.rows, country.vectors
    )
    means = means[(means != 0).any(axis=1)]
    tried: dict[int, float] = {}
    best, best_recall = None, -1.0
    for wanted in config.clusters:
        clusters = max(1, min(wanted, len(means)))
        if clusters in tried:
            continue
        centroids = cluster_centroids(means, clusters, training.seed, training.config.threads)
        lists = cluster_lists(
            centroids,
            count_clusters(training, country, centroids),
            training.popularity,
            merchant_users,
            training.items,
            config.prior_users,
            config.minimum_users,
            config.list_length,
        )
        source = CboCountry(country.items, country.vectors, lists, GlobalBestOf.of(training.popularity, training.items))
        tried[clusters] = evaluate_sources({"cbo": source}, country.validation)["cbo"]["recall@20"]
        if best is None or tried[clusters] > best_recall:
            best, best_recall = source, tried[clusters]
    assert best is not None
    chosen = len(best.lists.centroids)
    logger.info("cbo %s: %d clusters, learnt from %d users", country.country, chosen, len(means))
    return best, {"clusters": chosen, "validation_recall@20": {str(size): value for size, value in tried.items()}}


@dataclass(frozen=True)
class MerchantVisits:
    """Keys: the merchants of each user, every one once. `merchant`: int32 [I]."""

    merchant: NDArray[np.int32]
    merchants: int

    def __call__(self, users: UserItems) -> NDArray[np.int64]:
        return np.unique(users.user_of_item() * self.merchants + self.merchant[users.items]) % self.merchants


@dataclass(frozen=True)
class ClusteredVisits:
    """Keys of `ClusterVisits` for the users whose mean item vector is known.

    Attributes:
        rows: int32 [I], the row of each item position, -1 where the model does not know it.
        vectors: float32 [R, d]. centroids: float32 [C, d].
    """

    rows: NDArray[np.int32]
    vectors: NDArray[np.float32]
    centroids: NDArray[np.float32]
    visits: ClusterVisits

    def __call__(self, users: UserItems) -> NDArray[np.int64]:
        means = unit_means(users, self.rows, self.vectors)
        known = (means != 0).any(axis=1)
        user = users.user_of_item()
        kept = known[user]
        return self.visits.keys(nearest(means, self.centroids), user[kept], users.items[kept])


def users_of_merchants(training: TrainingSet) -> NDArray[np.int64]:
    """int64 [M]: distinct users of each merchant, over all countries as in `popularity`."""
    merchants = len(training.items.merchants)
    found = training.behaviour.total(MerchantVisits(np.asarray(training.items.merchant), merchants))
    users = np.zeros(merchants, np.int64)
    users[found.keys] = found.counts
    return users


def count_clusters(training: TrainingSet, country: CountryTraining, centroids: NDArray[np.float32]) -> ClusterCounts:
    """What the country's users took, by cluster."""
    visits = ClusterVisits(np.asarray(training.items.merchant), len(training.items.merchants))
    function = ClusteredVisits(country.items.rows, country.vectors, centroids, visits)
    found = training.behaviour.total(function, country.country)
    return visits.counts(len(centroids), found.keys, found.counts)


def unit_means(users: UserItems, rows: NDArray[np.int32], vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """float32 [U, d]: unit-length mean vector of each user's newest items, zero for users without a known vector.

    Args:
        rows: int32 [I], the row of each item position among `vectors`, -1 where there is none.
    """
    users = users.newest(HISTORY_LIMIT)
    row, user = rows[users.items], users.user_of_item()
    known = row >= 0
    ones = np.ones(int(known.sum()), np.float32)
    taken = sparse.csr_array((ones, (user[known], row[known])), shape=(len(users), len(vectors)))
    return unit(np.asarray(taken @ vectors, np.float32))


def nearest(means: NDArray[np.float32], centroids: NDArray[np.float32]) -> NDArray[np.int64]:
    """int64 [U]: the nearest centroid of each mean, as `CboCountry.cluster_of` finds it online."""
    half_norms = 0.5 * np.einsum("cd,cd->c", centroids, centroids)
    blocks = [
        (means[start : start + _TOGETHER] @ centroids.T - half_norms).argmax(axis=1)
        for start in range(0, len(means), _TOGETHER)
    ]
    return np.concatenate([np.empty(0, np.int64), *blocks])


def cluster_centroids(means: NDArray[np.float32], clusters: int, seed: int, threads: int = 1) -> NDArray[np.float32]:
    """float32 [C, d], by k-means over the means [n, d]; one zero centroid if there are none."""
    if not len(means):
        return np.zeros((1, means.shape[1]), np.float32)
    from sklearn.cluster import MiniBatchKMeans

    model = MiniBatchKMeans(clusters, batch_size=2048, n_init=3, random_state=seed)
    with threadpool_limits(threads):  # here, since a limit holds only for libraries that are loaded when it is set
        model.fit(means)
    return np.asarray(model.cluster_centers_, np.float32)
