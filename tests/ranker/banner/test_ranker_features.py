"""The banner's features against an obvious loop, and training against serving."""

import inspect
import math

import numpy as np
import pytest

import ranker.banner.features
from data.items import ItemTable
from data.request import HISTORY_LIMIT, History, Request
from data.schema import EventKind
from data.timelines import Timelines
from ranker.banner.features import DENSE_VALUES, NEVER, Catalogue, Visits, dense_values, item_values
from ranker.banner.rows import rows_of_examples
from ranker.banner.statistics import ItemStatistics, PastStatistics, first_not_before
from ranker.features.specification import banner_specification
from tests.support.shop import DAY, START, Shop, make_examples

HOUR = 3_600_000_000


def slow_features(items: ItemTable, request: Request, item: int, timelines: Timelines) -> dict[str, float]:
    """Every dense feature of one candidate, written as its description says."""
    log = lambda x: math.copysign(math.log1p(abs(x)), x)  # noqa: E731
    recency = lambda ts: min(math.log1p(max(request.ts - ts, 0) / HOUR), float(NEVER))  # noqa: E731
    past = list(zip(request.history.items, request.history.kinds, request.history.ts, strict=True))[-HISTORY_LIMIT:]
    newest = lambda kept: recency(kept[-1][2]) if kept else float(NEVER)  # noqa: E731
    same_item = [one for one in past if one[0] == item]
    same_category = [one for one in past if items.category[one[0]] == items.category[item]]
    same_merchant = [one for one in past if items.merchant[one[0]] == request.merchant]
    happened = list(zip(timelines.items, timelines.kinds, timelines.ts, strict=True))
    counts = {kind: sum(1 for i, k, t in happened if i == item and k == kind and t < request.ts) for kind in EventKind}
    merchant = items.merchant[item]
    all_views = sum(
        1 for i, k, t in happened if items.merchant[i] == merchant and k == EventKind.view and t < request.ts
    )
    prices = [log(float(items.price[one[0]])) for one in past if not np.isnan(items.price[one[0]])]
    known = not np.isnan(items.price[item])
    price = log(float(items.price[item])) if known else 0.0
    hour = 2 * math.pi * (request.ts / HOUR % 24) / 24
    return {
        "item_price": price,
        "item_price_known": float(known),
        "item_views": math.log1p(counts[EventKind.view]),
        "item_clicks": math.log1p(counts[EventKind.click]),
        "item_sales": math.log1p(counts[EventKind.sale]),
        "item_view_share": math.log((counts[EventKind.view] + 1) / (all_views / sum(items.merchant == merchant) + 1)),
        "item_click_rate": 0.0,
        "seen_merchant": math.log1p(len(same_merchant)),
        "merchant_recency": newest(same_merchant),
        "last_recency": newest(past),
        "history_length": math.log1p(len(past)),
        "hour_sine": math.sin(hour),
        "hour_cosine": math.cos(hour),
        "item_price_relative": price - sum(prices) / len(prices) if known and prices else 0.0,
        "seen_item": math.log1p(len(same_item)),
        "bought_item": float(any(kind == EventKind.sale for _, kind, _ in same_item)),
        "seen_category": math.log1p(len(same_category)),
        "item_recency": newest(same_item),
        "category_recency": newest(same_category),
    }


def served(shop: Shop, request: Request, positions: np.ndarray) -> np.ndarray:
    """The dense features as the scorer computes them, with counts as they stood at the request."""
    catalogue = Catalogue.of(shop.items)
    past = PastStatistics(shop.timelines, shop.items).at(positions, np.full(len(positions), request.ts))
    values = item_values(catalogue, positions, past)
    return dense_values(catalogue, Visits.of_request(request), positions, values)


@pytest.mark.parametrize("user", [0, 3, 17])
def test_features_are_what_their_descriptions_say(shop: Shop, user: int) -> None:
    ts = START + 20 * DAY + user * HOUR
    history = shop.timelines.history(user, before=ts)
    request = Request(shop.timelines.users[user], 1, "FR", ts, history)
    seen = history.items[shop.items.merchant[history.items] == 1][:3]
    positions = np.concatenate([np.arange(shop.items.slice_of(1).start, shop.items.slice_of(1).start + 12), seen])
    found = served(shop, request, positions.astype(np.int32))
    for row, item in zip(found, positions, strict=True):
        expected = slow_features(shop.items, request, int(item), shop.timelines)
        assert dict(zip(DENSE_VALUES, row.tolist(), strict=True)) == pytest.approx(expected, abs=2e-5)


def test_a_training_row_equals_the_served_features_bit_for_bit(shop: Shop) -> None:
    examples = make_examples(shop, requests=60)
    rows, left_out = rows_of_examples(banner_specification(), shop.items, shop.timelines, examples)
    assert left_out == 0
    columns = [DENSE_VALUES.index(name) for name in banner_specification().dense_names]
    for number in range(0, 60, 7):
        mine = np.flatnonzero(rows.request == number)
        item_ids = rows.item_columns["item"].take(list(mine)).to_pylist()
        ts, user = int(rows.ts[number]), shop.timelines.users.index(rows.user[number].as_py())
        merchant = shop.items.merchants.position(rows.request_columns["merchant"][number].as_py())
        history = shop.timelines.history(user, before=ts)
        found = served(shop, Request("", merchant, "FR", ts, history), shop.items.items.positions(item_ids))
        np.testing.assert_array_equal(found[:, columns], rows.dense[mine])
        recent = [shop.items.items.id(int(one)) for one in history.items[-20:]]
        assert rows.bags["recent_items"][number].as_py() == recent


def test_a_row_never_counts_what_happened_at_or_after_its_moment(shop: Shop) -> None:
    event = 100
    item, ts = shop.timelines.items[event : event + 1], shop.timelines.ts[event : event + 1]
    past = PastStatistics(shop.timelines, shop.items)
    kind = EventKind(int(shop.timelines.kinds[event]))
    name = {EventKind.view: "views", EventKind.click: "clicks", EventKind.sale: "sales"}[kind]
    same = (shop.timelines.items == item) & (shop.timelines.kinds == kind)
    assert getattr(past.at(item, ts), name)[0] == (same & (shop.timelines.ts < ts)).sum()
    assert getattr(past.at(item, ts + 1), name)[0] == (same & (shop.timelines.ts <= ts)).sum()


def test_the_past_at_the_end_of_time_is_the_statistics_that_serve(shop: Shop) -> None:
    every = np.arange(len(shop.items), dtype=np.int32)
    late = PastStatistics(shop.timelines, shop.items).at(every, np.full(len(every), shop.timelines.ts.max() + 1))
    now = ItemStatistics.of(shop.timelines, shop.items, None)
    for name in ("views", "clicks", "sales", "merchant_views"):
        np.testing.assert_array_equal(getattr(late, name), getattr(now, name))


def test_features_are_finite_for_every_odd_request(shop: Shop) -> None:
    everything = np.arange(len(shop.items), dtype=np.int32)
    unpriced = int(np.flatnonzero(np.isnan(shop.items.price))[0])
    future = History(np.array([unpriced, 5], np.int32), np.array([0, 3], np.int8), np.array([START, 2**62]))
    long = History(np.zeros(80, np.int32), np.zeros(80, np.int8), np.arange(80) + START)
    for request in (
        Request("", 0, "", 0),
        Request("nobody", 2, "??", START, future),
        Request("u1", 1, "FR", START, long),
    ):
        found = served(shop, request, everything)
        assert found.dtype == np.float32
        assert np.isfinite(found).all()


def test_many_binary_searches_agree_with_numpys() -> None:
    random = np.random.default_rng(0)
    lengths = random.integers(0, 30, 200)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    ts = np.concatenate([np.sort(random.integers(0, 20, n)) for n in lengths])
    group, moment = random.integers(0, 200, 1000), random.integers(-2, 22, 1000)
    found = first_not_before(ts, offsets[group], offsets[group + 1], moment)
    expected = [
        offsets[g] + np.searchsorted(ts[offsets[g] : offsets[g + 1]], m) for g, m in zip(group, moment, strict=True)
    ]
    np.testing.assert_array_equal(found, expected)


def test_no_feature_can_know_a_source_or_its_score() -> None:
    specification = banner_specification()
    names = [*specification.dense_names, *(one.name for one in specification.table_features)]
    assert not [
        name for name in names if any(word in name for word in ("source", "score", "rank", "gbo", "cbo", "led"))
    ]
    for function in (
        dense_values,
        item_values,
        ranker.banner.features.request_values,
        ranker.banner.features.pair_values,
    ):
        assert not {"sources", "source", "score", "scores", "proposal", "proposals"} & set(
            inspect.signature(function).parameters
        )
    assert not {"sources", "scores"} & set(Request.__dataclass_fields__)
