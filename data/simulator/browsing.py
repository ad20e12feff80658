"""Organic events: sessions on merchants' sites, the items viewed in them, and the sales that need no banner."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data.schema import DAY_US, EventKind
from data.simulator.behaviour import Behaviour
from data.simulator.config import MarketplaceConfig
from data.simulator.life import is_there, season
from data.simulator.randomness import generator, pick, pick_from

_SECOND = 1_000_000
_BLOCK = 50_000  # sessions drawn at once; bounds memory, and is part of what a seed means
_HOUR_WEIGHTS = np.array([1, 1, 1, 1, 1, 1, 2, 4, 5, 6, 6, 6, 7, 6, 6, 6, 6, 7, 8, 10, 11, 10, 6, 3], np.float64)
_WEEKDAY_WEIGHTS = np.array([1.0, 1.0, 1.0, 1.0, 0.9, 0.8, 1.2])  # from Monday


@dataclass(frozen=True)
class Organic:
    """N organic events, oldest first; the event at position n has the id o<n>.

    Attributes:
        ts: int64 [N], UTC microseconds. user, item: int32 [N]. kind: int8 [N], EventKind codes, view or sale.
        order_value: float64 [N], NaN for views.
        by_user: int32 [N], the events sorted by (user, ts). user_offsets: int64 [U + 1], into `by_user`.
    """

    ts: NDArray[np.int64]
    user: NDArray[np.int32]
    item: NDArray[np.int32]
    kind: NDArray[np.int8]
    order_value: NDArray[np.float64]
    by_user: NDArray[np.int32]
    user_offsets: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.ts)


def browse(behaviour: Behaviour) -> Organic:
    """Draw every organic event of the whole period; sales only in the training period."""
    config = behaviour.config
    user, ts = _sessions(behaviour)
    blocks = [
        _views(behaviour, user[start : start + _BLOCK], ts[start : start + _BLOCK], start // _BLOCK)
        for start in range(0, len(user), _BLOCK)
    ]
    user, item, ts = (np.concatenate(column) for column in zip(*blocks, strict=True))
    value = np.full(len(user), np.nan)
    kind = np.full(len(user), EventKind.view, np.int8)
    bought, sale_ts, sale_value = _organic_sales(behaviour, user, item, ts)
    user, item = np.concatenate([user, user[bought]]), np.concatenate([item, item[bought]])
    ts, value = np.concatenate([ts, sale_ts]), np.concatenate([value, sale_value])
    kind = np.concatenate([kind, np.full(len(bought), EventKind.sale, np.int8)])
    order = np.lexsort((kind, item, user, ts))
    order = order[ts[order] < config.day_us(config.days)]
    user, ts = user[order], ts[order]
    return Organic(
        ts=ts,
        user=user,
        item=item[order],
        kind=kind[order],
        order_value=value[order],
        by_user=np.argsort(user, kind="stable").astype(np.int32),
        user_offsets=np.concatenate([[0], np.cumsum(np.bincount(user, minlength=config.users))]),
    )


def times_of_day(config: MarketplaceConfig, days: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.int64]:
    """int64 [n], UTC microseconds: a moment on each day (floor of `days`), more often in the evening."""
    hour = pick_from(_HOUR_WEIGHTS[None, :], np.zeros(len(days), np.int64), rng.random(len(days)))
    within = ((hour + rng.random(len(days))) * 3600 * _SECOND).astype(np.int64)
    return config.start_us + np.floor(days).astype(np.int64) * DAY_US + within


def _sessions(behaviour: Behaviour) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """(user [n], start ts [n]) of every session: Poisson by activity, thinned by the day of the week."""
    config, users = behaviour.config, behaviour.users
    rng = generator(config.seed, "sessions")
    present = 1 - users.arrival / config.days
    heaviest = _WEEKDAY_WEIGHTS.max()
    rate = config.sessions_per_user * users.activity * present * heaviest / _WEEKDAY_WEIGHTS.mean()
    user = np.repeat(np.arange(len(users), dtype=np.int32), rng.poisson(rate))
    day = users.arrival[user] + rng.random(len(user)) * (config.days - users.arrival[user])
    weekday = (config.start_us // DAY_US + 3 + np.floor(day).astype(np.int64)) % 7
    kept = rng.random(len(user)) < _WEEKDAY_WEIGHTS[weekday] / heaviest
    user, day = user[kept], day[kept]
    there = is_there(config, user, users.arrival[user], day)
    user, day = user[there], day[there]
    return user, times_of_day(config, day, rng)


def _views(
    behaviour: Behaviour, session_user: NDArray[np.int32], session_ts: NDArray[np.int64], block: int
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int64]]:
    """(user, item, ts) of the views of some sessions.

    A session is about one leaf at one merchant. Each view draws a shelf of `considered` items by popularity and opens
    one of them, with probability in proportion to style match times price fit.
    """
    config, items = behaviour.config, behaviour.items
    rng = generator(config.seed, "views", block)
    leaf = _session_leaves(behaviour, session_user, session_ts, rng)
    merchant, shelf = _session_shelves(behaviour, session_user, leaf, rng)
    length = rng.geometric(1 / config.views_per_session, len(session_user))
    session = np.repeat(np.arange(len(session_user)), length)
    step = np.arange(len(session)) - np.repeat(np.cumsum(length) - length, length)
    user, merchant = session_user[session], merchant[session]
    ts = session_ts[session] + (step * 75 * _SECOND + rng.random(len(session)) * 60 * _SECOND).astype(np.int64)

    best_seller = rng.random(len(session)) < config.best_seller_share
    start = np.where(best_seller, items.merchant_offsets[merchant], items.shelf_offsets[shelf[session]])
    end = np.where(best_seller, items.merchant_offsets[merchant + 1], items.shelf_offsets[shelf[session] + 1])
    considered = draw_by_popularity(behaviour, start, end, rng.random((len(session), config.considered)))
    liking = np.log(behaviour.style_match(user[:, None], considered))
    liking += np.log(behaviour.price_fit(user[:, None], considered)) + rng.gumbel(size=considered.shape)
    sold_out = ~items.available[considered] & (ts >= config.test_start_us)[:, None]
    liking[sold_out] = -np.inf
    chosen = np.take_along_axis(considered, liking.argmax(axis=1)[:, None], axis=1)[:, 0]
    kept = ~sold_out.all(axis=1)
    return user[kept], chosen[kept].astype(np.int32), ts[kept]


def _session_leaves(
    behaviour: Behaviour, user: NDArray[np.int32], ts: NDArray[np.int64], rng: np.random.Generator
) -> NDArray[np.int64]:
    """int64 [n]: the user's own interest with probability `personalisation`, else some other user's; or one near it."""
    config, users, tree = behaviour.config, behaviour.users, behaviour.tree
    own = rng.random(len(user)) < config.personalisation
    whose = np.where(own, user, rng.integers(0, len(users), len(user)))
    leaves = users.interests[whose, users.phase(whose, ts, config)]
    weights = users.strengths[whose] * season(config, leaves, ts[:, None])
    slot = pick(np.cumsum(weights, axis=1), rng.random(len(user)))
    leaf = leaves[np.arange(len(user)), slot].astype(np.int64)
    related = pick_from(tree.similarity - np.eye(len(tree)), leaf, rng.random(len(user)))
    return np.where(rng.random(len(user)) < config.related_share, related, leaf)


def _session_shelves(
    behaviour: Behaviour, user: NDArray[np.int32], leaf: NDArray[np.int64], rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(merchant [n], shelf [n]): merchants the user knows, with long shelves of the leaf, first.

    A leaf that nobody sells sends the user to a shelf of some merchant at random by its popularity.
    """
    items, leaves = behaviour.items, len(behaviour.tree)
    lengths = np.diff(items.shelf_offsets).reshape(-1, leaves)
    weights = behaviour.users.merchant_weights[user] * np.sqrt(lengths[:, leaf].T)
    nobody = weights.sum(axis=1) == 0
    weights[nobody] = behaviour.users.merchant_weights[user[nobody]]
    merchant = pick(np.cumsum(weights, axis=1), rng.random(len(user)))
    draws = rng.random(len(user))
    some_item = draw_by_popularity(
        behaviour, items.merchant_offsets[merchant], items.merchant_offsets[merchant + 1], draws
    )
    return merchant, merchant * leaves + np.where(nobody, items.leaf[some_item], leaf)


def draw_by_popularity(
    behaviour: Behaviour, start: NDArray[np.int64], end: NDArray[np.int64], draws: NDArray[np.float64]
) -> NDArray[np.int64]:
    """An item of each slice start [n] .. end [n] - 1, in proportion to popularity; draws [n] or [n, k] in [0, 1)."""
    cumulative = np.concatenate([[0.0], np.cumsum(behaviour.items.popularity)])
    if draws.ndim == 2:
        start, end = start[:, None], end[:, None]
    point = cumulative[start] + draws * (cumulative[end] - cumulative[start])
    return np.clip(np.searchsorted(cumulative, point, side="right") - 1, start, end - 1)


def _organic_sales(
    behaviour: Behaviour, user: NDArray[np.int32], item: NDArray[np.int32], ts: NDArray[np.int64]
) -> tuple[NDArray[np.intp], NDArray[np.int64], NDArray[np.float64]]:
    """(positions of the views that end in a sale, when, for how much), all within the training period."""
    config = behaviour.config
    rng = generator(config.seed, "organic sales")
    draws, delay = rng.random(len(user)), rng.uniform(120, 1800, len(user))
    noise = rng.standard_normal(len(user))
    sale_ts = ts + (delay * _SECOND).astype(np.int64)
    early = np.flatnonzero(sale_ts < config.test_start_us)
    chain = behaviour.chain(user[early], item[early], np.zeros(len(early), np.int64), ts[early])
    bought = early[draws[early] < config.behaviour.organic_sale_rate * chain.sale]
    value = behaviour.items.price[item[bought]] * order_factor(noise[bought], config.behaviour.order_spread)
    return bought, sale_ts[bought], value


def order_factor(noise: NDArray[np.float64], spread: float) -> NDArray[np.float64]:
    """Lognormal of mean exactly 1, from standard normal noise."""
    return np.exp(spread * noise - spread**2 / 2)
