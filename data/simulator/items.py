"""The merchants' catalogues: what each item is, how good, how popular, how dear."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data.simulator.config import MarketplaceConfig
from data.simulator.randomness import generator
from data.simulator.tree import CategoryTree

PRICE_SPREAD = 0.45
"""Standard deviation of log price within a leaf."""


@dataclass(frozen=True)
class Items:
    """I items ordered by (merchant, leaf), so that a merchant's shelf of one leaf is one contiguous slice.

    Attributes:
        merchant_offsets: int64 [M + 1].
        shelf_offsets: int64 [M * L + 1]; the shelf of leaf l at merchant m is m * L + l.
        merchant, leaf: int32, int16 [I]. number: int32 [I], from 1, within its shelf.
        quality: float32 [I], standard normal.
        popularity: float64 [I], how often it is looked at; sums to 1 over each merchant.
        familiarity: float32 [I] in [0, 1]: 1 for a merchant's most popular item, 0 for its least, by log rank.
        price: float32 [I]. price_level: float32 [I], log(price / median of the leaf).
        style: float32 [I, D], standard normal.
        available: bool [I]; False: sold out when the test begins.
    """

    merchant_offsets: NDArray[np.int64]
    shelf_offsets: NDArray[np.int64]
    merchant: NDArray[np.int32]
    leaf: NDArray[np.int16]
    number: NDArray[np.int32]
    quality: NDArray[np.float32]
    popularity: NDArray[np.float64]
    familiarity: NDArray[np.float32]
    price: NDArray[np.float32]
    price_level: NDArray[np.float32]
    style: NDArray[np.float32]
    available: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.leaf)

    def slice_of(self, merchant: int) -> slice:
        return slice(int(self.merchant_offsets[merchant]), int(self.merchant_offsets[merchant + 1]))


def make_items(config: MarketplaceConfig, tree: CategoryTree) -> Items:
    """Draw every merchant's catalogue; larger merchants sell more departments."""
    parts = [_merchant_shelves(config, tree, merchant) for merchant in range(len(config.merchant_sizes))]
    sizes = np.array(config.merchant_sizes)
    merchant = np.repeat(np.arange(len(sizes), dtype=np.int32), sizes)
    leaf = np.concatenate(parts)
    shelf = merchant.astype(np.int64) * len(tree) + leaf
    shelf_offsets = np.searchsorted(shelf, np.arange(len(sizes) * len(tree) + 1))
    merchant_offsets = np.concatenate([[0], np.cumsum(sizes)])

    rng = generator(config.seed, "items")
    count = len(leaf)
    quality = rng.standard_normal(count)
    correlation = config.quality_in_popularity
    pull = correlation * quality + np.sqrt(1 - correlation**2) * rng.standard_normal(count)
    rank = _ranks_within(pull, merchant_offsets)
    weight = (rank + 2.0) ** -config.zipf_exponent
    price_level = PRICE_SPREAD * (0.3 * quality + np.sqrt(1 - 0.3**2) * rng.standard_normal(count))
    return Items(
        merchant_offsets=merchant_offsets,
        shelf_offsets=shelf_offsets,
        merchant=merchant,
        leaf=leaf.astype(np.int16),
        number=(np.arange(count) - shelf_offsets[shelf] + 1).astype(np.int32),
        quality=quality.astype(np.float32),
        popularity=weight / np.add.reduceat(weight, merchant_offsets[:-1])[merchant],
        familiarity=(1 - np.log1p(rank) / np.log(sizes)[merchant]).astype(np.float32),
        price=np.round(tree.median_price[leaf] * np.exp(price_level), 2).astype(np.float32),
        price_level=price_level.astype(np.float32),
        style=rng.standard_normal((count, config.style_dimensions)).astype(np.float32),
        available=rng.random(count) >= config.unavailable_share,
    )


def _merchant_shelves(config: MarketplaceConfig, tree: CategoryTree, merchant: int) -> NDArray[np.int64]:
    """int64 [size], sorted: the leaf of each of a merchant's items.

    A merchant of n items sells about sqrt(n) leaves, department by department in an order of its own, at least one
    item of each.
    """
    size = config.merchant_sizes[merchant]
    rng = generator(config.seed, "shelves", merchant)
    department_order = rng.permutation(len(tree.departments))
    leaves = np.concatenate([rng.permutation(np.flatnonzero(tree.department == one)) for one in department_order])
    leaves = leaves[: int(np.clip(round(size**0.5), 3, len(tree)))]
    extra = rng.choice(leaves, size - len(leaves), p=rng.dirichlet(np.full(len(leaves), 2.0)))
    return np.sort(np.concatenate([leaves, extra]))


def _ranks_within(score: NDArray[np.float64], offsets: NDArray[np.int64]) -> NDArray[np.float64]:
    """float64 [I]: 0 for the highest score of each merchant, 1 for the next, ..."""
    merchant = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    order = np.lexsort((-score, merchant))
    ranks = np.empty(len(score))
    ranks[order] = np.arange(len(score)) - offsets[merchant]
    return ranks
