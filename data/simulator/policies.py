"""Stand-ins for recommenders: rules that fill banners from the truth, for tests and for checking the report."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from data.simulator.answers import NO_ITEM
from data.simulator.marketplace import Marketplace
from data.simulator.randomness import standard_normals, stream_key, uniforms

_BLOCK = 2_000  # opportunities scored at once


class Policy(Protocol):
    """Fills the banners of some opportunities (int64 [n]) with a slate each: int [n, S], padded with NO_ITEM."""

    def __call__(self, opportunities: NDArray[np.int64]) -> NDArray[np.int64]: ...


class PopularPolicy:
    """The merchant's most popular available items, the same for everybody."""

    name = "popular"

    def __init__(self, marketplace: Marketplace) -> None:
        self._marketplace = marketplace
        self._best = _heads(marketplace, max(marketplace.config.slot_counts))

    def __call__(self, opportunities: NDArray[np.int64]) -> NDArray[np.int64]:
        merchant = self._marketplace.opportunities.merchant[opportunities]
        return _cut_to_slots(self._marketplace, opportunities, self._best[merchant])


class RandomPolicy:
    """Items of the merchant at random, each available one equally likely."""

    name = "random"

    def __init__(self, marketplace: Marketplace, seed: int = 0) -> None:
        self._marketplace, self._sampler = marketplace, _TailSampler(marketplace, 0, seed)

    def __call__(self, opportunities: NDArray[np.int64]) -> NDArray[np.int64]:
        slates = self._sampler.sample(opportunities, max(self._marketplace.config.slot_counts))
        return _cut_to_slots(self._marketplace, opportunities, slates)


class AffinityPolicy:
    """The highest true click probabilities, blurred: logit plus `noise` times a standard normal per (user, item).

    It looks at the merchant's `pool` most popular items and as many others at random. With noise 0 it is close to the
    best that any recommender could do; with much noise it draws from its pool at random.
    """

    name = "affinity"

    def __init__(self, marketplace: Marketplace, noise: float = 1.0, pool: int = 50, seed: int = 0) -> None:
        self._marketplace, self._noise, self._pool = marketplace, noise, pool
        self._key = stream_key(seed, "affinity noise")
        self._head, self._sampler = _heads(marketplace, pool), _TailSampler(marketplace, pool, seed)

    def __call__(self, opportunities: NDArray[np.int64]) -> NDArray[np.int64]:
        blocks = [opportunities[start : start + _BLOCK] for start in range(0, len(opportunities), _BLOCK)]
        slots = max(self._marketplace.config.slot_counts)
        if not blocks:
            return np.empty((0, slots), np.int64)
        return np.concatenate([self._block(block, slots) for block in blocks])

    def _block(self, opportunities: NDArray[np.int64], slots: int) -> NDArray[np.int64]:
        at = self._marketplace.opportunities
        tail = self._sampler.sample(opportunities, self._pool)
        pool = np.concatenate([self._head[at.merchant[opportunities]], tail], axis=1)
        items, user = np.maximum(pool, 0), at.user[opportunities][:, None]
        ts = at.ts[opportunities][:, None]
        click = self._marketplace.behaviour.click(user, items, np.zeros(1, np.int64), ts)
        noise = standard_normals(uniforms(self._key, user, items, 0), uniforms(self._key, user, items, 1))
        score = np.log(click / (1 - click)) + self._noise * noise
        score[pool == NO_ITEM] = -np.inf
        best = np.argsort(-score, axis=1, kind="stable")[:, :slots]
        return _cut_to_slots(self._marketplace, opportunities, np.take_along_axis(pool, best, axis=1))


class _TailSampler:
    """Draws distinct available items outside each merchant's head: a random stretch of a fixed random circle."""

    def __init__(self, marketplace: Marketplace, head: int, seed: int) -> None:
        heads = _heads(marketplace, head)
        merchants = range(len(marketplace.config.merchant_sizes))
        circles = [self._circle(marketplace, merchant, heads[merchant], seed) for merchant in merchants]
        self._lengths = np.array([len(circle) for circle in circles])
        self._starts = np.concatenate([[0], np.cumsum(self._lengths)])[:-1]
        self._items = np.append(np.concatenate(circles), NO_ITEM)
        self._merchant_of = marketplace.opportunities.merchant
        self._key = stream_key(seed, "stretches")

    def sample(self, opportunities: NDArray[np.int64], count: int) -> NDArray[np.int64]:
        """int64 [n, count]: distinct items, NO_ITEM where the merchant has no more."""
        merchant = self._merchant_of[opportunities]
        length = self._lengths[merchant][:, None]
        step = np.arange(count)
        offset = (uniforms(self._key, opportunities)[:, None] * length).astype(np.int64)
        place = self._starts[merchant][:, None] + (offset + step) % np.maximum(length, 1)
        return np.where(step < length, self._items[place], NO_ITEM)

    @staticmethod
    def _circle(marketplace: Marketplace, merchant: int, head: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
        owned = marketplace.items.slice_of(merchant)
        available = owned.start + np.flatnonzero(marketplace.items.available[owned])
        rest = np.setdiff1d(available, head)
        return rest[np.argsort(uniforms(stream_key(seed, "circle"), rest))]


def _heads(marketplace: Marketplace, count: int) -> NDArray[np.int64]:
    """int64 [M, count]: each merchant's most popular available items, best first, padded with NO_ITEM."""
    items = marketplace.items
    heads = np.full((len(marketplace.config.merchant_sizes), count), NO_ITEM, np.int64)
    for merchant, head in enumerate(heads):
        owned = items.slice_of(merchant)
        available = owned.start + np.flatnonzero(items.available[owned])
        best = available[np.argsort(-items.popularity[available], kind="stable")][:count]
        head[: len(best)] = best
    return heads


def _cut_to_slots(
    marketplace: Marketplace, opportunities: NDArray[np.int64], slates: NDArray[np.int64]
) -> NDArray[np.int64]:
    """The slates with NO_ITEM beyond the slots that each banner has."""
    slots = marketplace.opportunities.slots[opportunities]
    return np.where(np.arange(slates.shape[1]) < slots[:, None], slates, NO_ITEM)
