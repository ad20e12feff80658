"""Vectors, biases and popularity of items that no training saw, from what is known of them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from candidates.category_paths import shared_path
from data.items import ItemTable


@dataclass(frozen=True)
class ColdStartConfig:
    """How much the events of a new item count against its category.

    Attributes:
        companion_power: a companion's users weigh n_ai / n_i ** this: what everybody takes says little.
        prior_users: the category's mean weighs as much as so many users of the item.
        scale_power: a new item's users of a short time count as (all training's users per user of that time) ** this:
            0 as they are, 1 as if it had always gone on so.
        history_limit: the newest distinct items of a user that are companions.
    """

    companion_power: float = 0.5
    prior_users: float = 2.0
    scale_power: float = 0.5
    history_limit: int = 50


def companion_weights(shared: sparse.csr_array, popularity: NDArray[np.float32], power: float) -> sparse.csr_array:
    """csr [A, R]: n_ar / n_r ** power, where n_ar users took new item a and known item r, of n_r users who took r."""
    scaled = shared @ sparse.diags_array(np.maximum(popularity, 1).astype(np.float64) ** -power)
    return sparse.csr_array(scaled)


def mean_vectors(weights: sparse.csr_array, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """float32 [A, d]: the weighted mean of vectors [R, d] by each row of weights [A, R], made as long as they are.

    A mean of vectors that point different ways is short, and an inner product would then pass its item over; so it is
    scaled to the weighted mean of their lengths. A row without weight gives a zero vector.
    """
    total = np.asarray(weights.sum(axis=1)).ravel()
    share = sparse.diags_array(1 / np.where(total > 0, total, 1)) @ weights
    mean = np.asarray(share @ vectors, np.float32)
    wanted = np.asarray(share @ np.linalg.norm(vectors, axis=1)).ravel()
    found = np.linalg.norm(mean, axis=1)
    return mean * (wanted / np.where(found > 0, found, 1)).astype(np.float32)[:, None]


def category_means(
    items: ItemTable, added: NDArray[np.int32], known: NDArray[np.int32], vectors: NDArray[np.float32]
) -> NDArray[np.float32]:
    """float32 [A, d]: the mean, as `mean_vectors` has it, of the known items of the same merchant whose category is
    nearest to the new item's.

    Nearest is the longest common path. Where the merchant has none that begins alike, or the category is unknown,
    nothing is said of the item: all of the merchant's items would be as near.

    Args:
        known: int32 [R], positions whose vectors [R, d] are known.
    """
    category, merchant = np.asarray(items.category), np.asarray(items.merchant)
    paths = items.categories.ids()
    cells, cell_of = np.unique(
        np.column_stack([merchant[added], category[added]]).astype(np.int64), axis=0, return_inverse=True
    )
    rows: list[NDArray[np.int64]] = []
    for own_merchant, own_category in cells.tolist():
        own = np.flatnonzero(merchant[known] == own_merchant)
        distinct, code = np.unique(category[known[own]], return_inverse=True)
        near = np.array([shared_path(paths[own_category], paths[other]) for other in distinct.tolist()])[code]
        rows.append(own[(near == near.max()) & (near > 0)] if len(own) else own)
    place = np.repeat(np.arange(len(cells)), [len(one) for one in rows])
    column = np.concatenate([*rows, np.empty(0, np.int64)])
    weights = sparse.csr_array((np.ones(len(column)), (place, column)), shape=(len(cells), len(known)))
    return mean_vectors(weights, vectors)[cell_of.ravel()]


def blended(
    own: NDArray[np.float32], of_category: NDArray[np.float32], users: NDArray[np.integer], prior_users: float
) -> NDArray[np.float32]:
    """float32 [A, d]: (n own + prior of_category) / (n + prior) by the item's users n; the other where one is zero."""
    share = (users / np.maximum(users + prior_users, 1e-9)).astype(np.float32)[:, None]
    has_own, has_category = own.any(axis=1, keepdims=True), of_category.any(axis=1, keepdims=True)
    share = np.where(has_own & has_category, share, has_own.astype(np.float32))
    return (share * own + (1 - share) * of_category).astype(np.float32)


def by_popularity(
    values: NDArray[np.float32], popularity: NDArray[np.float32], wanted: NDArray[np.float32]
) -> NDArray[np.float32]:
    """float32 [A]: what the known items' values [R] would be at the `wanted` popularities, on the line of least squares
    through log(1 + popularity), within the range of values there are: of biases, and of logarithms of scales."""
    if not len(values):
        return np.zeros(len(wanted), np.float32)
    log = np.log1p(popularity.astype(np.float64))
    spread = log.std()
    slope = 0.0 if spread < 1e-9 else float(np.mean((log - log.mean()) * (values - values.mean())) / spread**2)
    line = float(values.mean()) + slope * (np.log1p(wanted) - log.mean())
    return np.clip(line, values.min(), values.max()).astype(np.float32)
