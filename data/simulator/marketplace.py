"""The marketplace as a whole: generated from a config, saved, loaded, and shown as Tandem's tables."""

from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from data.ids import IdMap
from data.request import HISTORY_LIMIT, NO_HISTORY, History
from data.schema import CATALOG_SCHEMA, EVENT_KINDS, EVENT_SCHEMA, EventKind
from data.simulator.behaviour import Behaviour, crowd_interest
from data.simulator.browsing import Organic, browse
from data.simulator.calibration import calibrated
from data.simulator.config import MarketplaceConfig
from data.simulator.items import make_items
from data.simulator.opportunities import Opportunities, make_opportunities
from data.simulator.storage import load_parts, save_parts
from data.simulator.tables import numbered, taken
from data.simulator.tree import category_tree
from data.simulator.users import make_users


class Marketplace:
    """Merchants, items, users, what they did, when they can be shown a banner, and how they would answer.

    Items are numbered as in `data.items.ItemTable.of(catalog())`, users from 0, opportunities by time.
    """

    def __init__(self, behaviour: Behaviour, organic: Organic, opportunities: Opportunities) -> None:
        self.behaviour, self.organic, self.opportunities = behaviour, organic, opportunities
        self.config, self.items, self.users = behaviour.config, behaviour.items, behaviour.users
        self.tree = behaviour.tree

    @classmethod
    def generate(cls, config: MarketplaceConfig) -> "Marketplace":
        """The marketplace of a config; the same config gives the same marketplace, to the bit, in any process."""
        tree = category_tree(config.life.complements)
        items = make_items(config, tree)
        users = make_users(config, tree, items)
        behaviour = Behaviour(config, tree, items, users, np.zeros(len(tree)))
        behaviour = Behaviour(config, tree, items, users, crowd_interest(behaviour))
        opportunities = make_opportunities(config, users)
        behaviour = calibrated(behaviour, opportunities)
        return cls(behaviour, browse(behaviour), opportunities)

    def save(self, folder: Path) -> None:
        """Write npy and JSON files into `folder`, which is replaced as a whole."""
        save_parts(folder, self.behaviour, self.organic, self.opportunities)

    @classmethod
    def load(cls, folder: Path) -> "Marketplace":
        """What `save` wrote, memory-mapped. Raises DataError where a file is missing, broken or of another format."""
        return cls(*load_parts(folder))

    @cached_property
    def item_ids(self) -> list[str]:
        """By item position, such as "m01-i000012"; sorted within their merchant."""
        number = np.arange(len(self.items)) - self.items.merchant_offsets[self.items.merchant]
        return [
            f"m{merchant + 1:02d}-i{one:06d}"
            for merchant, one in zip(self.items.merchant.tolist(), number.tolist(), strict=True)
        ]

    @cached_property
    def merchant_ids(self) -> list[str]:
        """By merchant, such as "m02-garden" ("general" where no department makes up half of it); sorted."""
        return [f"m{merchant + 1:02d}-{self._theme(merchant)}" for merchant in range(len(self.config.merchant_sizes))]

    def _theme(self, merchant: int) -> str:
        leaves = self.items.leaf[self.items.slice_of(merchant)]
        counts = np.bincount(self.tree.department[leaves])
        return self.tree.departments[counts.argmax()] if 2 * counts.max() >= len(leaves) else "general"

    @cached_property
    def user_ids(self) -> list[str]:
        """By user, such as "u0000012"; sorted."""
        digits = max(7, len(str(len(self.users))))
        return [f"u{user:0{digits}d}" for user in range(len(self.users))]

    @cached_property
    def _item_map(self) -> IdMap:
        return IdMap.of(self.item_ids)

    def item_positions(self, item_ids: list[str]) -> NDArray[np.int32]:
        """int32 [n], data.ids.UNKNOWN for an id the marketplace does not sell."""
        return self._item_map.positions(item_ids)

    def catalog(self) -> pa.Table:
        """A table of CATALOG_SCHEMA, every item once, sorted by merchant and item id."""
        items = self.items
        columns = zip(items.leaf.tolist(), items.style[:, 0].tolist(), items.number.tolist(), strict=True)
        titles = [self.tree.title(leaf, style, number) for leaf, style, number in columns]
        return pa.table(
            [
                pa.array(self.item_ids),
                taken(self.merchant_ids, items.merchant),
                taken(self.tree.paths, items.leaf),
                pa.array(np.asarray(items.price)),
                pa.array(titles),
                pa.repeat("", len(items)),
                pa.array(np.asarray(items.available)),
            ],
            schema=CATALOG_SCHEMA,
        )

    def organic_events(self, start_day: float, end_day: float) -> pa.Table:
        """A table of EVENT_SCHEMA: views and sales of start_day <= day < end_day, oldest first.

        Day 0 is the first; the test period begins on day `config.train_days`. Sales belong to no display.
        """
        organic = self.organic
        edges = [self.config.day_us(start_day), self.config.day_us(end_day)]
        start, end = np.searchsorted(organic.ts, edges).tolist()
        chosen = slice(start, end)
        user, item, kind = organic.user[chosen], organic.item[chosen], organic.kind[chosen]
        ids, sale = np.arange(start, end), kind == EventKind.sale
        return pa.table(
            [
                numbered("o", ids),
                pa.array(np.asarray(organic.ts[chosen])).cast(EVENT_SCHEMA.field("ts").type),
                taken(self.user_ids, user),
                taken(EVENT_KINDS, kind),
                taken(self.item_ids, item),
                taken(self.merchant_ids, self.items.merchant[item]),
                taken(self.config.countries, self.users.country[user]),
                pa.nulls(len(ids), pa.string()),
                numbered("order-o", ids, mask=~sale),
                pa.array(np.asarray(organic.order_value[chosen]), mask=~sale),
            ],
            schema=EVENT_SCHEMA,
        )

    def history(self, user: int, before: int, limit: int = HISTORY_LIMIT) -> History:
        """The newest `limit` organic events of a user with ts < before: what a request would carry."""
        start, end = self.history_ranges(np.array([user]), np.array([before]), limit)
        if start[0] == end[0]:
            return NO_HISTORY
        events = self.organic.by_user[start[0] : end[0]]
        return History(self.organic.item[events], self.organic.kind[events], self.organic.ts[events])

    def history_ranges(
        self, users: NDArray[np.integer], before: NDArray[np.int64], limit: int = HISTORY_LIMIT
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(start [n], end [n]) into `organic.by_user`: each user's newest `limit` events with ts < before."""
        end = np.searchsorted(self._user_time_keys, self._keys(users, before), side="left")
        return np.maximum(self.organic.user_offsets[users], end - limit), end

    @cached_property
    def _user_time_keys(self) -> NDArray[np.int64]:
        """int64 [N], sorted: user and time in one number, in the order of `organic.by_user`."""
        events = self.organic.by_user
        return self._keys(self.organic.user[events], self.organic.ts[events])

    def _keys(self, users: NDArray[np.integer], ts: NDArray[np.int64]) -> NDArray[np.int64]:
        span = self.config.day_us(self.config.days + 1) - self.config.start_us
        return users.astype(np.int64) * span + np.clip(ts - self.config.start_us, 0, span - 1)
