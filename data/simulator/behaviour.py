"""The truth: how likely a user clicks, lands and buys, given what is shown. Pure functions of the marketplace."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from data.simulator.config import MarketplaceConfig
from data.simulator.items import PRICE_SPREAD, Items
from data.simulator.life import season
from data.simulator.tree import CategoryTree
from data.simulator.users import Users

Floats = NDArray[np.float64]
Integers = NDArray[np.integer]

DEVICES = ("desktop", "mobile", "tablet")
DEVICE_SHARES = np.array([0.4, 0.5, 0.1])
CLICK_BY_DEVICE = np.array([0.0, 0.15, 0.05])  # fingers touch banners more easily, ...
LANDING_BY_DEVICE = np.array([0.3, -0.3, 0.0])  # ... often by mistake
ATTENTION_DECAY = np.array([0.5, 0.8, 0.6])  # by device: slot j is looked at with probability (1 + j) ** -decay
PUBLISHER_STEP = 0.15  # publishers differ in the click logit by this, evenly spaced around 0


@dataclass(frozen=True)
class Chain:
    """What follows from showing an item, all float64 of one broadcast shape; independent between slots.

    Attributes:
        click: P(click). landing: P(landing | click). sale: P(sale | landing). order_value: E[order value | sale].
    """

    click: Floats
    landing: Floats
    sale: Floats
    order_value: Floats

    def expected(self) -> Floats:
        """float64 [..., 3]: expected landed clicks, sales and order value."""
        landed = self.click * self.landing
        sold = landed * self.sale
        return np.stack([landed, sold, sold * self.order_value], axis=-1)


@dataclass(frozen=True)
class Behaviour:
    """The chain of probabilities over one marketplace's users and items.

    Attributes:
        crowd: float64 [L], the mean over users of their interest in each leaf.
        click_base, sale_base: logits, set by `calibration.calibrated`.
    """

    config: MarketplaceConfig
    tree: CategoryTree
    items: Items
    users: Users
    crowd: Floats
    click_base: float = 0.0
    sale_base: float = 0.0

    def interest(self, users: Integers, leaves: Integers, ts: ArrayLike) -> Floats:
        """In [0, 1]: interests spread over the tree and add up with saturation (noisy or), mixed with the crowd's.

        own = 1 - prod_k (1 - strength_k * similarity(leaf_k, leaf));
        interest = personalisation * own + (1 - personalisation) * crowd, times the leaf's season, at most 1.
        """
        phase = self.users.phase(users, ts, self.config)
        own = self.own_interest(self.users.interests[users, phase], self.users.strengths[users], leaves)
        share = self.config.personalisation
        mixed = share * own + (1 - share) * self.crowd[leaves]
        return np.minimum(1.0, mixed * season(self.config, leaves, ts)) if self.config.life.seasons else mixed

    def own_interest(self, interests: Integers, strengths: Floats, leaves: Integers) -> Floats:
        """interests, strengths [..., K] against leaves [...]."""
        near = self.tree.similarity[interests, leaves[..., None]]
        return 1 - np.prod(1 - strengths * near, axis=-1)

    def style_match(self, users: Integers, items: Integers) -> Floats:
        """In (0, 1]: exp(-|personalisation * user's style - item's style|^2 / (2 width^2))."""
        difference = self.config.personalisation * self.users.style[users] - self.items.style[items]
        squared = np.einsum("...d,...d->...", difference, difference, dtype=np.float64)
        return np.exp(-squared / (2 * self.config.behaviour.style_width**2))

    def price_fit(self, users: Integers, items: Integers) -> Floats:
        """In (0, 1]: falls where the item is dearer than the user's level; a quarter as fast where it is cheaper."""
        excess = self.items.price_level[items] - self.config.personalisation * self.users.price_level[users]
        excess = excess.astype(np.float64) / self.config.behaviour.price_width
        excess = np.maximum(excess, -0.5 * excess)
        return np.exp(-0.5 * excess * excess)

    def affinity(self, users: Integers, items: Integers, ts: ArrayLike) -> Floats:
        """In [0, 1]: interest * (floor + (1 - floor) * style match) * price fit."""
        floor = self.config.behaviour.style_floor
        taste = floor + (1 - floor) * self.style_match(users, items)
        return self.interest(users, self.items.leaf[items], ts) * taste * self.price_fit(users, items)

    def chain(
        self,
        users: Integers,
        items: Integers,
        positions: Integers,
        ts: ArrayLike,
        publishers: ArrayLike = 0,
        devices: ArrayLike = 0,
        *,
        seen: ArrayLike = 0.0,
        spent: ArrayLike = 0.0,
    ) -> Chain:
        """The whole chain; all arguments broadcast together.

        Args:
            users, items: positions. positions: slots, 0 the first. ts: UTC microseconds.
            publishers: positions in the config's publishers. devices: positions in DEVICES.
            seen: 1 where the user has viewed the item. spent: log(1 + what the user has spent / a mean order).
        """
        weights, device = self.config.behaviour, np.asarray(devices)
        pull = self._pull(users, items, ts)
        sale_logit = (
            self.sale_base
            + weights.sale_affinity_weight * pull
            + weights.sale_quality_weight * self._quality(items)
            - weights.sale_price_weight * self.items.price_level[items] / PRICE_SPREAD
            - self.config.life.budget_weight * np.asarray(spent)
        )
        landing_logit = weights.landing_logit + LANDING_BY_DEVICE[device] + weights.landing_affinity_weight * pull
        click = self.click(users, items, positions, ts, publishers, devices, pull=pull, seen=seen)
        return Chain(
            click=click,
            landing=sigmoid(landing_logit),
            sale=sigmoid(sale_logit),
            order_value=np.broadcast_to(self.items.price[items].astype(np.float64), click.shape),
        )

    def click(
        self,
        users: Integers,
        items: Integers,
        positions: Integers,
        ts: ArrayLike,
        publishers: ArrayLike = 0,
        devices: ArrayLike = 0,
        *,
        pull: Floats | None = None,
        seen: ArrayLike = 0.0,
    ) -> Floats:
        """P(click) alone, at half the cost of the chain. Arguments as for `chain`; `pull`: if it is known already."""
        weights, device = self.config.behaviour, np.asarray(devices)
        logit = (
            self.click_base
            + self.users.propensity[users]
            + PUBLISHER_STEP * (np.asarray(publishers) - (len(self.config.publishers) - 1) / 2)
            + CLICK_BY_DEVICE[device]
            + weights.affinity_weight * (self._pull(users, items, ts) if pull is None else pull)
            + weights.quality_weight * self._quality(items)
            + weights.familiarity_weight * self.items.familiarity[items]
            + self.config.life.seen_weight * np.asarray(seen)
        )
        return (1.0 + positions) ** -ATTENTION_DECAY[device] * sigmoid(logit)

    def _pull(self, users: Integers, items: Integers, ts: ArrayLike) -> Floats:
        """In [0, 1]: affinity, saturated: half of it is reached near `affinity_saturation`."""
        affinity, half = self.affinity(users, items, ts), self.config.behaviour.affinity_saturation
        return affinity * (1 + half) / (affinity + half)

    def _quality(self, items: Integers) -> Floats:
        return np.tanh(self.items.quality[items].astype(np.float64))


def crowd_interest(behaviour_of: Behaviour, sample: int = 5_000) -> Floats:
    """float64 [L]: the mean own interest in each leaf of (at most `sample`) users, over their phases."""
    users = behaviour_of.users
    interests = users.interests[:sample, :, None, :]
    strengths = users.strengths[:sample, None, None, :]
    leaves = np.arange(len(behaviour_of.tree))
    rows = [
        behaviour_of.own_interest(interests[:, phase], strengths[:, 0], leaves[None, :]).mean(axis=0)
        for phase in range(interests.shape[1])
    ]
    return np.mean(rows, axis=0)


def sigmoid(logit: Floats) -> Floats:
    return 1 / (1 + np.exp(-logit))
