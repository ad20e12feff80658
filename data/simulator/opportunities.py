"""The moments of the test period at which a banner can be shown to somebody."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data.errors import DataError
from data.simulator.behaviour import DEVICE_SHARES
from data.simulator.browsing import times_of_day
from data.simulator.config import MarketplaceConfig
from data.simulator.life import is_there
from data.simulator.randomness import generator, pick
from data.simulator.users import Users


@dataclass(frozen=True)
class Opportunities:
    """N opportunities, oldest first; an opportunity's id is its position.

    Attributes:
        ts: int64 [N], UTC microseconds, in the test period. user, merchant: int32 [N].
        country, publisher, device, slots: int8 [N]; slots is how many items the banner holds.
    """

    ts: NDArray[np.int64]
    user: NDArray[np.int32]
    merchant: NDArray[np.int32]
    country: NDArray[np.int8]
    publisher: NDArray[np.int8]
    device: NDArray[np.int8]
    slots: NDArray[np.int8]

    def __len__(self) -> int:
        return len(self.ts)


def make_opportunities(config: MarketplaceConfig, users: Users) -> Opportunities:
    """Poisson per user by exposure, in the part of the test period in which the user is there.

    The merchant is drawn from those the user knows, with an advertising budget per merchant.

    Raises:
        DataError: so few users that none has an opportunity.
    """
    rng = generator(config.seed, "opportunities")
    first = np.maximum(users.arrival, config.train_days)
    present = (config.days - first) / config.test_days
    user = np.repeat(
        np.arange(len(users), dtype=np.int32), rng.poisson(config.opportunities_per_user * users.exposure * present)
    )
    if not len(user):
        raise DataError(
            f"the marketplace of {len(users)} users has no opportunity to show a banner; expected more users"
        )
    day = first[user] + rng.random(len(user)) * (config.days - first[user])
    there = is_there(config, user, users.arrival[user], day)
    user, day = user[there], day[there]
    ts = times_of_day(config, day, rng)
    order = np.lexsort((user, ts))
    user, ts = user[order], ts[order]
    count, budgets = len(user), rng.gamma(4.0, size=len(config.merchant_sizes))
    merchant = pick(np.cumsum(np.sqrt(users.merchant_weights) * budgets, axis=1)[user], rng.random(count))
    return Opportunities(
        ts=ts,
        user=user,
        merchant=merchant.astype(np.int32),
        country=users.country[user],
        publisher=rng.integers(0, len(config.publishers), count).astype(np.int8),
        device=rng.choice(len(DEVICE_SHARES), count, p=DEVICE_SHARES).astype(np.int8),
        slots=rng.choice(np.array(config.slot_counts), count).astype(np.int8),
    )
