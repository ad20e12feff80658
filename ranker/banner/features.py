"""The banner's features: for one request and n candidates when serving, for many requests at once when training.

Training computes arrays of R requests (`Visits`) and n rows here; serving, the case R = 1, has a quicker way of its own
to the same bits (`request_features`). What is true of an item whoever asks (`item_values`) is computed once per bundle.
Nothing here is told which source proposed an item, or with what score: the ranker must not know, or the A/B test
between populations would not be fair.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data.items import ItemTable
from data.request import HISTORY_LIMIT, Request
from data.schema import EventKind
from data.timelines import Timelines
from ranker.banner.statistics import ItemStatistics, first_not_before

ITEM_VALUES = (
    "item_price",  # sign(x) log(1 + |x|) of the price, 0 if unknown
    "item_price_known",  # 1 or 0
    "item_views",  # log(1 + views of the item)
    "item_clicks",  # log(1 + clicks)
    "item_sales",  # log(1 + sales)
    "item_view_share",  # log((views + 1) / (mean views of the merchant's items + 1))
    "item_click_rate",  # log(smoothed landed clicks per display / the rate over all items), 0 without a display log
)
REQUEST_VALUES = (
    "seen_merchant",  # log(1 + the user's events at the merchant)
    "merchant_recency",  # log(1 + hours) since the newest of them
    "last_recency",  # log(1 + hours) since the user's newest event
    "history_length",  # log(1 + events)
    "hour_sine",  # of the hour of the day, UTC
    "hour_cosine",
)
PAIR_VALUES = (
    "item_price_relative",  # item_price less its mean over the user's recent items; 0 if either is unknown
    "seen_item",  # log(1 + the user's events on the item)
    "bought_item",  # 1 if a sale is among them
    "seen_category",  # log(1 + the user's events in the item's category)
    "item_recency",  # log(1 + hours) since the newest event on the item
    "category_recency",  # ... in the item's category
)
DENSE_VALUES = (*ITEM_VALUES, *REQUEST_VALUES, *PAIR_VALUES)

NEVER = np.float32(np.log1p(24 * 365.0))
"""The recency of what never happened: a year ago."""

CLICK_RATE_WEIGHT = 50.0
"""Displays of the average item that are added to every item's own before its click rate is taken."""

_NOTHING = -1
LOG_COUNTS = np.log1p(np.arange(HISTORY_LIMIT + 1)).astype(np.float32)
_COLUMNS = np.arange(1, HISTORY_LIMIT + 1, dtype=np.int8)[:, None]


def signed_log(values: NDArray[np.floating]) -> NDArray[np.float32]:
    """sign(x) log(1 + |x|): defined for negative (standardised) prices too. NaN stays NaN."""
    return (np.sign(values) * np.log1p(np.abs(values))).astype(np.float32)


@dataclass(frozen=True)
class Catalogue:
    """What features need of the item table, in memory once per process.

    Attributes:
        merchant, category: int32 [I].
        price: float32 [I], `signed_log` of the price, NaN where unknown.
        merchant_size: int64 [M], items per merchant.
    """

    merchant: NDArray[np.int32]
    category: NDArray[np.int32]
    price: NDArray[np.float32]
    merchant_size: NDArray[np.int64]

    @classmethod
    def of(cls, items: ItemTable) -> "Catalogue":
        price = np.asarray(items.price)
        price = np.where(np.isfinite(price), price, np.nan)
        return cls(
            np.asarray(items.merchant), np.asarray(items.category), signed_log(price), np.diff(items.merchant_offsets)
        )


@dataclass(frozen=True)
class Visits:
    """R requests as arrays. Column r holds the newest HISTORY_LIMIT events of request r, the newest in the last row.

    Attributes:
        merchant: int32 [R]. ts: int64 [R], UTC microseconds.
        items: int32 [HISTORY_LIMIT, R], -1 where the history is shorter.
        kinds: int8 [HISTORY_LIMIT, R]. times: int64 [HISTORY_LIMIT, R].
    """

    merchant: NDArray[np.int32]
    ts: NDArray[np.int64]
    items: NDArray[np.int32]
    kinds: NDArray[np.int8]
    times: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.merchant)

    @classmethod
    def of_request(cls, request: Request) -> "Visits":
        history, length = request.history, min(len(request.history), HISTORY_LIMIT)
        items = np.full((HISTORY_LIMIT, 1), _NOTHING, np.int32)
        kinds = np.full((HISTORY_LIMIT, 1), _NOTHING, np.int8)
        times = np.zeros((HISTORY_LIMIT, 1), np.int64)
        if length:
            items[-length:, 0] = history.items[-length:]
            kinds[-length:, 0] = history.kinds[-length:]
            times[-length:, 0] = history.ts[-length:]
        return cls(np.array([request.merchant], np.int32), np.array([request.ts], np.int64), items, kinds, times)

    @classmethod
    def of_timelines(
        cls, timelines: Timelines, user: NDArray[np.int64], merchant: NDArray[np.int32], ts: NDArray[np.int64]
    ) -> "Visits":
        """One visit per entry of the three arrays [R]; user -1 has no history. History is what came before `ts`."""
        if not len(timelines.ts):
            shape = (HISTORY_LIMIT, len(ts))
            nothing = np.full(shape, _NOTHING, np.int32)
            return cls(merchant, ts, nothing, nothing.astype(np.int8), np.zeros(shape, np.int64))
        known = user >= 0
        start = np.where(known, timelines.offsets[user], 0)
        end = np.where(known, first_not_before(timelines.ts, start, timelines.offsets[user + 1], ts), 0)
        place = end - HISTORY_LIMIT + np.arange(HISTORY_LIMIT)[:, None]
        there = (place >= start) & known
        place = np.where(there, place, 0)
        return cls(
            merchant=merchant,
            ts=ts,
            items=np.where(there, timelines.items[place], _NOTHING).astype(np.int32),
            kinds=np.where(there, timelines.kinds[place], _NOTHING).astype(np.int8),
            times=np.where(there, timelines.ts[place], 0),
        )

    def take(self, request: NDArray[np.int64]) -> "Visits":
        """The visits of n rows: row k belongs to request[k]."""
        return Visits(
            self.merchant[request],
            self.ts[request],
            self.items[:, request],
            self.kinds[:, request],
            self.times[:, request],
        )


def item_values(catalogue: Catalogue, positions: NDArray[np.int32], counts: ItemStatistics) -> NDArray[np.float32]:
    """float32 [n, len(ITEM_VALUES)]. `counts` holds the counts of these n items, in their order."""
    price = catalogue.price[positions]
    known = ~np.isnan(price)
    size = catalogue.merchant_size[catalogue.merchant[positions]]
    values = np.empty((len(positions), len(ITEM_VALUES)), np.float32)
    values[:, 0] = np.where(known, price, 0)
    values[:, 1] = known
    values[:, 2] = np.log1p(counts.views)
    values[:, 3] = np.log1p(counts.clicks)
    values[:, 4] = np.log1p(counts.sales)
    values[:, 5] = np.log((counts.views + 1.0) / (counts.merchant_views / size + 1.0))
    values[:, 6] = _click_rate(counts)
    return values


def _click_rate(counts: ItemStatistics) -> NDArray[np.float64]:
    """log(smoothed rate / overall rate); 0 where nothing was ever displayed or clicked."""
    if counts.overall_click_rate <= 0:
        return np.zeros(len(counts.views))
    smoothed = counts.landed / counts.overall_click_rate + CLICK_RATE_WEIGHT
    return np.log(smoothed / (counts.displays + CLICK_RATE_WEIGHT))


def request_values(catalogue: Catalogue, visits: Visits) -> NDArray[np.float32]:
    """float32 [R, len(REQUEST_VALUES)]."""
    there = visits.items >= 0
    here = there & (catalogue.merchant[visits.items] == visits.merchant)
    recency = _recency(visits)
    hour = 2 * np.pi / 24 * ((visits.ts / 3.6e9) % 24)
    values = np.empty((len(visits), len(REQUEST_VALUES)), np.float32)
    values[:, 0] = LOG_COUNTS[np.add.reduce(here, axis=0, dtype=np.int8)]
    values[:, 1] = _of_newest(recency, here)
    values[:, 2] = _of_newest(recency, there)
    values[:, 3] = LOG_COUNTS[np.add.reduce(there, axis=0, dtype=np.int8)]
    values[:, 4] = np.sin(hour)
    values[:, 5] = np.cos(hour)
    return values


def pair_values(catalogue: Catalogue, visits: Visits, positions: NDArray[np.int32]) -> NDArray[np.float32]:
    """float32 [n, len(PAIR_VALUES)]; `visits` holds one request for all rows (R = 1), or one per row (R = n)."""
    there = visits.items >= 0
    same_item = visits.items == positions
    same_category = there & (catalogue.category[visits.items] == catalogue.category[positions])
    recency = _recency(visits)
    price = catalogue.price[positions]
    values = np.empty((len(positions), len(PAIR_VALUES)), np.float32)
    relative = price - _mean_price(catalogue, visits, there)
    values[:, 0] = np.where(np.isnan(relative), np.float32(0), relative)
    values[:, 1] = LOG_COUNTS[np.add.reduce(same_item, axis=0, dtype=np.int8)]
    values[:, 2] = np.logical_or.reduce(same_item & (visits.kinds == EventKind.sale), axis=0)
    values[:, 3] = LOG_COUNTS[np.add.reduce(same_category, axis=0, dtype=np.int8)]
    values[:, 4] = _of_newest(recency, same_item)
    values[:, 5] = _of_newest(recency, same_category)
    return values


def _recency(visits: Visits) -> NDArray[np.float32]:
    """float32 [1 + HISTORY_LIMIT, R]: log(1 + hours) since the event of each row; row 0 is NEVER."""
    hours = np.maximum(visits.ts - visits.times, 0) / 3.6e9
    return np.concatenate([np.full((1, len(visits)), NEVER), np.minimum(np.log1p(hours), NEVER)]).astype(np.float32)


def _of_newest(recency: NDArray[np.float32], match: NDArray[np.bool_]) -> NDArray[np.float32]:
    """The recency of the newest event that matches, column by column: match is bool [HISTORY_LIMIT, n]."""
    newest = (match * _COLUMNS).max(axis=0)
    return recency[newest, 0] if recency.shape[1] == 1 else recency[newest, np.arange(match.shape[1])]


def _mean_price(catalogue: Catalogue, visits: Visits, there: NDArray[np.bool_]) -> NDArray[np.float32]:
    """float32 [R]: the mean of the known prices (logs) in the history, NaN if there is none."""
    price = np.where(there, catalogue.price[visits.items], np.float32("nan"))
    known = ~np.isnan(price)
    count = known.sum(axis=0)
    total = np.cumsum(np.where(known, price, np.float32(0)), axis=0, dtype=np.float32)[-1]  # one order of addition
    return np.where(count > 0, total / np.maximum(count, 1), np.float32("nan")).astype(np.float32)


def dense_values(
    catalogue: Catalogue, visits: Visits, positions: NDArray[np.int32], of_items: NDArray[np.float32]
) -> NDArray[np.float32]:
    """float32 [n, len(DENSE_VALUES)]: everything dense of n rows. `visits` as in `pair_values`; `of_items` as from
    `item_values`."""
    values = np.empty((len(positions), len(DENSE_VALUES)), np.float32)
    items, requests = len(ITEM_VALUES), len(REQUEST_VALUES)
    values[:, :items] = of_items
    values[:, items : items + requests] = request_values(catalogue, visits)
    values[:, items + requests :] = pair_values(catalogue, visits, positions)
    return values
