"""The dense features of one request's candidates, with few and small steps: what `features.dense_values` gives, to the
bit, for a fifth of its price.

Training computes many requests at once, each step on whole matrices. When serving, what a step costs is its call, not
its numbers: here histories are as long as they are, items and categories are matched in one matrix, and what holds for
the whole request is a handful of numbers.
"""

import numpy as np
from numpy.typing import NDArray

from data.request import HISTORY_LIMIT, History, Request
from data.schema import EventKind
from ranker.banner.features import DENSE_VALUES, ITEM_VALUES, LOG_COUNTS, NEVER, REQUEST_VALUES, Catalogue

_PLACES = np.arange(1, HISTORY_LIMIT + 1, dtype=np.int8)[:, None]
_SALE = int(EventKind.sale)
_HOUR_US = 3.6e9
_ANGLE = 2 * np.pi / 24
_WIDTH = len(DENSE_VALUES)
_OF_REQUEST = slice(len(ITEM_VALUES), len(ITEM_VALUES) + len(REQUEST_VALUES))
_RELATIVE, _SEEN, _BOUGHT, _SEEN_CATEGORY, _RECENCY, _CATEGORY_RECENCY = range(_OF_REQUEST.stop, _WIDTH)


def values_of_request(
    catalogue: Catalogue, request: Request, positions: NDArray[np.int32], of_items: NDArray[np.float32]
) -> NDArray[np.float32]:
    """float32 [n, len(DENSE_VALUES)], equal to `features.dense_values` of the same request.

    Args:
        positions: int32 [n], the candidates. of_items: float32 [n, len(ITEM_VALUES)].
    """
    values = np.empty((len(positions), _WIDTH), np.float32)
    values[:, : _OF_REQUEST.start] = of_items
    history = _newest(request.history)
    if not len(history):
        values[:, _OF_REQUEST] = _request_values(request, 0, NEVER, NEVER, 0)
        values[:, _RELATIVE:_RECENCY] = 0
        values[:, _RECENCY:] = NEVER
        return values
    recency = _recency(request.ts, history.ts)
    own = np.flatnonzero(catalogue.merchant[history.items] == request.merchant)
    newest_own = recency[own[-1] + 1] if len(own) else NEVER
    values[:, _OF_REQUEST] = _request_values(request, len(own), newest_own, recency[-1], len(history))
    values[:, _RELATIVE] = _relative_prices(catalogue, history, positions)
    _fill_matches(values, catalogue, history, recency, positions)
    return values


def _newest(history: History) -> History:
    if len(history) <= HISTORY_LIMIT:
        return history
    last = slice(-HISTORY_LIMIT, None)
    return History(history.items[last], history.kinds[last], history.ts[last])


def _recency(ts: int, times: NDArray[np.int64]) -> NDArray[np.float32]:
    """float32 [1 + T]: log(1 + hours) since each event; the first is NEVER."""
    found = np.empty(len(times) + 1, np.float32)
    found[0] = NEVER
    hours = np.maximum(ts - times, 0) / _HOUR_US
    found[1:] = np.minimum(np.log1p(hours, out=hours), NEVER)
    return found


def _request_values(
    request: Request, own_events: int, merchant_recency: np.float32, last_recency: np.float32, events: int
) -> tuple[np.floating, ...]:
    """In the order of REQUEST_VALUES."""
    hour = np.float64(_ANGLE * ((request.ts / _HOUR_US) % 24))
    counts = LOG_COUNTS
    return (counts[own_events], merchant_recency, last_recency, counts[events], np.sin(hour), np.cos(hour))


def _relative_prices(
    catalogue: Catalogue, history: History, positions: NDArray[np.int32]
) -> NDArray[np.float32] | np.float32:
    """The candidates' prices (logs) less the mean of the known ones in the history; 0 where either is unknown."""
    known = catalogue.price[history.items]
    there = known == known
    if not there.all():
        known = known[there]
    if not len(known):
        return np.float32(0)
    mean = np.float32(float(np.add.accumulate(known)[-1]) / len(known))  # one order of addition, as in training
    relative = catalogue.price[positions] - mean
    relative[relative != relative] = 0
    return relative


def _fill_matches(
    values: NDArray[np.float32],
    catalogue: Catalogue,
    history: History,
    recency: NDArray[np.float32],
    positions: NDArray[np.int32],
) -> None:
    """Counts and newest events of each candidate's item and category: a bool matrix [T, 2 n], items first."""
    events, count, category = len(history), len(positions), catalogue.category
    match = np.empty((events, 2 * count), np.bool_)
    np.equal(history.items[:, None], positions, out=match[:, :count])
    np.equal(category[history.items][:, None], category[positions], out=match[:, count:])
    ones = match.view(np.int8)
    seen = LOG_COUNTS[np.add.reduce(ones, axis=0, dtype=np.int8)]
    newest = recency[np.maximum.reduce(ones * _PLACES[:events], axis=0)]
    values[:, _SEEN], values[:, _SEEN_CATEGORY] = seen[:count], seen[count:]
    values[:, _RECENCY], values[:, _CATEGORY_RECENCY] = newest[:count], newest[count:]
    sales = np.flatnonzero(history.kinds == _SALE)
    values[:, _BOUGHT] = np.logical_or.reduce(match[sales, :count], axis=0) if len(sales) else 0
