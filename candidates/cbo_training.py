"""Training CBO: users clustered across merchants by their mean item vector; held-out users choose how many clusters."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from threadpoolctl import threadpool_limits

from candidates.cbo import CboCountry, cluster_lists, unit
from candidates.encoder import write_countries
from candidates.evaluation import evaluate_sources
from candidates.training_set import CountryTraining, TrainingSet, distinct_pairs
from data.request import HISTORY_LIMIT

logger = logging.getLogger(__name__)


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
    user, item, _ = distinct_pairs(training.timelines, country.users, len(training.items))
    merchant_users = users_of_merchants(training)
    means = user_means(training, country)
    known = np.flatnonzero((means != 0).any(axis=1))
    tried: dict[int, float] = {}
    best, best_recall = None, -1.0
    for wanted in config.clusters:
        clusters = max(1, min(wanted, len(known)))
        if clusters in tried:
            continue
        centroids, cluster = cluster_users(means, known, clusters, training.seed, training.config.threads)
        of_known = cluster[user] >= 0
        lists = cluster_lists(
            centroids,
            cluster,
            user[of_known],
            item[of_known],
            training.popularity,
            merchant_users,
            training.items,
            config.prior_users,
            config.minimum_users,
            config.list_length,
        )
        source = CboCountry(country.items, country.vectors, lists, training.best_of())
        tried[clusters] = evaluate_sources({"cbo": source}, country.validation)["cbo"]["recall@20"]
        if best is None or tried[clusters] > best_recall:
            best, best_recall = source, tried[clusters]
    assert best is not None
    chosen = len(best.lists.centroids)
    logger.info("cbo %s: %d clusters of %d users", country.country, chosen, len(known))
    return best, {"clusters": chosen, "validation_recall@20": {str(size): value for size, value in tried.items()}}


def users_of_merchants(training: TrainingSet) -> NDArray[np.int64]:
    """int64 [M]: distinct users of each merchant, over all countries as in `popularity`."""
    merchants = len(training.items.merchants)
    merchant = np.asarray(training.items.merchant)[training.timelines.items]
    visits = np.unique(training.timelines.user_of_event().astype(np.int64) * merchants + merchant)
    return np.bincount(visits % merchants, minlength=merchants)


def user_means(training: TrainingSet, country: CountryTraining) -> NDArray[np.float32]:
    """float32 [U, d]: unit-length mean vector of each user's newest items, zero for users without a known vector."""
    limit = HISTORY_LIMIT
    user, item, _ = distinct_pairs(training.timelines, country.users, len(training.items), limit)
    rows = country.items.rows[item]
    known = rows >= 0
    taken = sparse.csr_array(
        (np.ones(int(known.sum()), np.float32), (user[known], rows[known])),
        shape=(len(country.users), len(country.vectors)),
    )
    return unit(np.asarray(taken @ country.vectors, np.float32))


def cluster_users(
    means: NDArray[np.float32], known: NDArray[np.int64], clusters: int, seed: int, threads: int = 1
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """(centroids float32 [C, d], cluster int64 [U] with -1 for users that are not `known`)."""
    cluster = np.full(len(means), -1, np.int64)
    if not len(known):
        return np.zeros((1, means.shape[1]), np.float32), cluster
    from sklearn.cluster import MiniBatchKMeans

    model = MiniBatchKMeans(clusters, batch_size=2048, n_init=3, random_state=seed)
    with threadpool_limits(threads):  # here, since a limit holds only for libraries that are loaded when it is set
        cluster[known] = model.fit_predict(means[known])
    return model.cluster_centers_.astype(np.float32), cluster
