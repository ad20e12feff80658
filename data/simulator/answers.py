"""What users do with a banner: drawn clicks, landings and sales, and what these come to on average."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike, NDArray

from data.errors import DataError
from data.schema import EVENT_KINDS, EVENT_SCHEMA, EventKind
from data.simulator.browsing import order_factor
from data.simulator.marketplace import Marketplace
from data.simulator.past import Past
from data.simulator.randomness import standard_normals, stream_key, uniforms
from data.simulator.tables import taken

NO_ITEM = -1
"""Pads a slate that is shorter than its row."""

METRICS = ("landed_clicks", "sales", "order_value")
"""The columns of `Answerer.expected` and of every truth."""

_PURPOSES = ("click", "landing", "sale", "value 1", "value 2", "click delay", "landing delay", "sale delay")
_SECOND = 1_000_000


@dataclass(frozen=True)
class _Clicked:
    """One row per click: on what, what followed and when (UTC microseconds)."""

    row: NDArray[np.intp]  # of the slates
    item: NDArray[np.int64]
    landed: NDArray[np.bool_]
    bought: NDArray[np.bool_]
    value: NDArray[np.float64]
    click_ts: NDArray[np.int64]
    landing_ts: NDArray[np.int64]
    sale_ts: NDArray[np.int64]


class Answerer:
    """Answers banners for a marketplace's users.

    Every random draw is a hash of (seed, opportunity, item, what it decides), so a slate shown at an opportunity gets
    the same answer whoever asks, in whichever process, batch or order. Slots are independent.
    """

    def __init__(self, marketplace: Marketplace, seed: int | None = None) -> None:
        """`seed` is the marketplace's own unless another draw of the same truth is wanted."""
        self.marketplace = marketplace
        self.past = Past(marketplace.organic, len(marketplace.users), len(marketplace.items))
        self.seed = marketplace.config.seed if seed is None else seed
        self._keys = {purpose: stream_key(self.seed, f"answers: {purpose}") for purpose in _PURPOSES}

    def answer(self, opportunities: ArrayLike, slates: ArrayLike, display_ids: list[str] | None = None) -> pa.Table:
        """The clicks, landings and sales that follow some displays, as a table of EVENT_SCHEMA, by display and slot.

        Args:
            opportunities: int [n]. slates: int [n, S], item positions, NO_ITEM where a slate is shorter.
            display_ids: [n]; "d<opportunity>" by default.

        Raises:
            DataError: an unknown opportunity or item, another merchant's item, an item twice in a slate, or shapes that
                do not fit.
        """
        which, shown = _checked(self.marketplace, opportunities, slates)
        displays = display_ids if display_ids is not None else [f"d{one:08d}" for one in which.tolist()]
        if len(displays) != len(which):
            raise DataError(f"{len(displays)} display ids for {len(which)} displays; expected one each")
        clicked = self._clicked(which, shown)
        return self._table(clicked, which, displays) if len(clicked.row) else EVENT_SCHEMA.empty_table()

    def outcomes(self, opportunities: ArrayLike, slates: ArrayLike) -> NDArray[np.float64]:
        """float64 [n, 3]: the landed clicks, sales and order value (METRICS) that `answer` has, added up per display.

        Arguments and errors as for `answer`.
        """
        which, shown = _checked(self.marketplace, opportunities, slates)
        clicked = self._clicked(which, shown)
        columns = (clicked.landed, clicked.bought, clicked.bought * clicked.value)
        return np.stack([np.bincount(clicked.row, column, minlength=len(which)) for column in columns], axis=1)

    def expected(self, opportunities: ArrayLike, slates: ArrayLike) -> NDArray[np.float64]:
        """float64 [n, 3]: the exact mean of landed clicks, sales and order value of each display (METRICS).

        Arguments and errors as for `answer`.
        """
        which, shown = _checked(self.marketplace, opportunities, slates)
        items = np.maximum(shown, 0)
        chain = self.marketplace.behaviour.chain(*self._context(which, items), **self._past(which[:, None], items))
        return (chain.expected() * (shown != NO_ITEM)[..., None]).sum(axis=1)

    def _context(
        self, which: NDArray[np.int64], items: NDArray[np.int64], slots: NDArray[np.integer] | None = None
    ) -> tuple[NDArray[np.integer], ...]:
        """The arguments of `Behaviour.chain` for items [n, S] in slots 0 .. S - 1, or items [n] in the given slots."""
        at = self.marketplace.opportunities
        if slots is None:
            which, slots = which[:, None], np.arange(items.shape[1])
        return at.user[which], items, slots, at.ts[which], at.publisher[which], at.device[which]

    def _past(self, which: NDArray[np.int64], items: NDArray[np.int64]) -> dict[str, Any]:
        """What the users did on their own before: `seen` and `spent` of `Behaviour.chain`; 0 where that is off."""
        life, at = self.marketplace.config.life, self.marketplace.opportunities
        seen = self.past.has_viewed(at.user[which], items, at.ts[which]) if life.seen_weight else 0.0
        return {"seen": seen, "spent": self.past.spent[at.user[which]] if life.budget_weight else 0.0}

    def _clicked(self, which: NDArray[np.int64], shown: NDArray[np.int64]) -> _Clicked:
        """Every click, by row and slot. A landing comes seconds after its click, a sale minutes after its landing."""
        items = np.maximum(shown, 0)
        past = self._past(which[:, None], items)
        click = self.marketplace.behaviour.click(*self._context(which, items), seen=past["seen"])
        drawn = uniforms(self._keys["click"], which[:, None], items)
        row, slot = np.nonzero((drawn < click) & (shown != NO_ITEM))
        opportunity, item = which[row], shown[row, slot]

        def draw(purpose: str) -> NDArray[np.float64]:
            return uniforms(self._keys[purpose], opportunity, item)

        chain = self.marketplace.behaviour.chain(
            *self._context(opportunity, item, slot), **self._past(opportunity, item)
        )
        landed = draw("landing") < chain.landing
        noise = standard_normals(draw("value 1"), draw("value 2"))
        spread = self.marketplace.config.behaviour.order_spread
        click_ts = self.marketplace.opportunities.ts[opportunity] + _seconds(2 - 20 * np.log(draw("click delay")))
        landing_ts = click_ts + _seconds(1 + 4 * draw("landing delay"))
        return _Clicked(
            row=row,
            item=item,
            landed=landed,
            bought=landed & (draw("sale") < chain.sale),
            value=chain.order_value * order_factor(noise, spread),
            click_ts=click_ts,
            landing_ts=landing_ts,
            sale_ts=landing_ts + _seconds(60 + 540 * draw("sale delay")),
        )

    def _table(self, clicked: _Clicked, which: NDArray[np.int64], displays: list[str]) -> pa.Table:
        """Rows ordered by display, slot, and click before landing before sale."""
        happened = np.stack([np.ones(len(clicked.row), bool), clicked.landed, clicked.bought], axis=1)
        click, step = np.nonzero(happened)
        ts = np.stack([clicked.click_ts, clicked.landing_ts, clicked.sale_ts], axis=1)[click, step]
        row, item = clicked.row[click], clicked.item[click]
        opportunity = which[row]
        user = self.marketplace.opportunities.user[opportunity]
        kind = np.array([EventKind.click, EventKind.landing, EventKind.sale])[step]
        sale = kind == EventKind.sale
        names = np.array([f"{one}-{its}" for one, its in zip(opportunity.tolist(), item.tolist(), strict=True)], object)
        return pa.table(
            [
                pa.array([f"{EVENT_KINDS[code]}-{name}" for code, name in zip(kind.tolist(), names, strict=True)]),
                pa.array(ts).cast(EVENT_SCHEMA.field("ts").type),
                pa.array([self.marketplace.user_ids[one] for one in user.tolist()]),
                taken(EVENT_KINDS, kind),
                pa.array([self.marketplace.item_ids[one] for one in item.tolist()]),
                taken(self.marketplace.merchant_ids, self.marketplace.items.merchant[item]),
                taken(self.marketplace.config.countries, self.marketplace.users.country[user]),
                pa.array(np.array(displays, object)[row], pa.string(), mask=sale),
                pa.array("order-" + names, pa.string(), mask=~sale),
                pa.array(clicked.value[click], mask=~sale),
            ],
            schema=EVENT_SCHEMA,
        )


def _checked(
    marketplace: Marketplace, opportunities: ArrayLike, slates: ArrayLike
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    which, shown = np.asarray(opportunities, np.int64), np.asarray(slates, np.int64)
    if which.ndim != 1 or shown.ndim != 2 or len(shown) != len(which):
        raise DataError(f"opportunities {which.shape} and slates {shown.shape} do not fit; expected [n] and [n, S]")
    if which.size == 0 or shown.size == 0:
        return which, shown
    at = marketplace.opportunities
    last, items = len(at) - 1, len(marketplace.items)
    if which.min() < 0 or which.max() > last:
        wrong = which[(which < 0) | (which > last)][0]
        raise DataError(f"opportunity {wrong} is unknown; expected 0 to {last}")
    if shown.min() < NO_ITEM or shown.max() >= items:
        row, slot = np.argwhere((shown < NO_ITEM) | (shown >= items))[0]
        raise DataError(f"slate of opportunity {which[row]}, slot {slot}: item {shown[row, slot]} is unknown")
    others = (marketplace.items.merchant[shown] != at.merchant[which][:, None]) & (shown != NO_ITEM)
    if others.any():
        row, slot = np.argwhere(others)[0]
        item, merchant = marketplace.item_ids[shown[row, slot]], at.merchant[which[row]]
        raise DataError(
            f"slate of opportunity {which[row]}, slot {slot}: item {item} is another merchant's; "
            f"expected one of {marketplace.merchant_ids[merchant]}"
        )
    ordered = np.sort(shown, axis=1)
    twice = (ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] != NO_ITEM)
    if twice.any():
        row, slot = np.argwhere(twice)[0]
        raise DataError(f"slate of opportunity {which[row]}: item {ordered[row, slot]} occurs twice")
    return which, shown


def _seconds(seconds: NDArray[np.float64]) -> NDArray[np.int64]:
    return (seconds * _SECOND).astype(np.int64)
