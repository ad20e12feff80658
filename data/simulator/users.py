"""The users: what they are interested in and when, their taste, their purse, how often they come."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from data.schema import DAY_US
from data.simulator.config import MarketplaceConfig
from data.simulator.items import Items
from data.simulator.randomness import generator, pick_from
from data.simulator.tree import CategoryTree


@dataclass(frozen=True)
class Users:
    """U users; K interests each, constant over a phase; P phases.

    Attributes:
        country: int8 [U], position in the config's countries.
        activity: float64 [U], mean 1, heavy-tailed: sessions come in proportion to it.
        exposure: float64 [U], mean 1, heavy-tailed, correlated with activity: opportunities come in proportion to it.
        arrival: float64 [U], the day from which on the user exists.
        phase_shift: float64 [U], days; phases change at different times for different users.
        interests: int16 [U, P, K], leaves. strengths: float64 [U, K] in [0, 1]; 0: the user has fewer interests.
        style: float32 [U, D].
        price_level: float32 [U]: the log price, against the leaf's median, they are at ease with.
        propensity: float32 [U], added to the logit of a click on anything.
        merchant_weights: float64 [U, M], how often they visit each merchant; rows sum to 1.
    """

    country: NDArray[np.int8]
    activity: NDArray[np.float64]
    exposure: NDArray[np.float64]
    arrival: NDArray[np.float64]
    phase_shift: NDArray[np.float64]
    interests: NDArray[np.int16]
    strengths: NDArray[np.float64]
    style: NDArray[np.float32]
    price_level: NDArray[np.float32]
    propensity: NDArray[np.float32]
    merchant_weights: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.country)

    def phase(self, users: NDArray[np.integer], ts: ArrayLike, config: MarketplaceConfig) -> NDArray[np.int64]:
        """The phase each user is in at `ts` (UTC microseconds); the shapes broadcast."""
        day = (np.asarray(ts) - config.start_us) / DAY_US
        phase = ((day + self.phase_shift[users]) / config.phase_days).astype(np.int64)
        return np.clip(phase, 0, self.interests.shape[1] - 1)


def make_users(config: MarketplaceConfig, tree: CategoryTree, items: Items) -> Users:
    rng = generator(config.seed, "users")
    count, merchants = config.users, len(config.merchant_sizes)
    country_sizes = 0.6 ** np.arange(len(config.countries))
    country = pick_from(country_sizes[None, :], np.zeros(count, np.int64), rng.random(count)).astype(np.int8)
    late = rng.random(count) < config.late_arrivals
    known = np.sqrt(np.array(config.merchant_sizes)) * rng.gamma(0.7, size=(count, merchants)) + 1e-9
    number = rng.integers(1, config.interests + 1, count)
    activity = rng.lognormal(-0.5, 1.0, count)
    exposure = np.sqrt(activity) * rng.lognormal(0.0, 0.8, count)
    strengths = rng.uniform(0.4, 1.0, (count, config.interests))
    return Users(
        country=country,
        activity=activity,
        exposure=exposure / exposure.mean(),
        arrival=np.where(late, rng.uniform(0, config.days, count), 0.0),
        phase_shift=rng.uniform(0, config.phase_days, count),
        interests=_drifting_interests(config, tree, items, country),
        strengths=np.where(np.arange(config.interests) < number[:, None], strengths, 0.0),
        style=rng.standard_normal((count, config.style_dimensions)).astype(np.float32),
        price_level=rng.normal(0.1, 0.4, count).astype(np.float32),
        propensity=rng.normal(0.0, config.behaviour.propensity_spread, count).astype(np.float32),
        merchant_weights=known / known.sum(axis=1, keepdims=True),
    )


def _drifting_interests(
    config: MarketplaceConfig, tree: CategoryTree, items: Items, country: NDArray[np.int8]
) -> NDArray[np.int16]:
    """int16 [U, P, K]: leaves somebody sells. At each new phase an interest changes with probability `drift`.

    Half of the changes go to a leaf near the old one in the tree, half to a fresh one by the country's demand.
    """
    rng = generator(config.seed, "interests")
    sold = np.bincount(items.leaf, minlength=len(tree)) > 0
    demand = rng.gamma(0.8, size=len(tree)) * rng.lognormal(0, 0.5, (len(config.countries), len(tree))) * sold
    near = (tree.similarity - np.eye(len(tree)) + 1e-6) * sold
    phases = int(np.ceil(config.days / config.phase_days)) + 1
    shape = (config.users, config.interests)
    of_user = np.repeat(country, config.interests)

    def fresh() -> NDArray[np.int16]:
        return pick_from(demand, of_user, rng.random(of_user.size)).reshape(shape).astype(np.int16)

    interests = np.empty((config.users, phases, config.interests), np.int16)
    interests[:, 0] = fresh()
    for phase in range(1, phases):
        old = interests[:, phase - 1]
        related = pick_from(near, old.ravel(), rng.random(old.size)).reshape(shape).astype(np.int16)
        new = np.where(rng.random(shape) < 0.5, related, fresh())
        interests[:, phase] = np.where(rng.random(shape) < config.drift, new, old)
    return interests
