"""A small made-up shop for the ranker's tests: users who prefer one category, and the events and banners of it."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from data.examples import EXAMPLE_SCHEMA
from data.items import ItemTable
from data.request import NO_HISTORY, Request
from data.schema import CATALOG_SCHEMA, DISPLAY_SCHEMA, EVENT_KINDS, EVENT_SCHEMA, TIMESTAMP
from data.timelines import Timelines
from ranker.banner.scorer import BannerFeatures

START = 1_700_000_000_000_000
DAY = 86_400_000_000
CATEGORIES = 8
MERCHANTS = 3


@dataclass(frozen=True)
class Shop:
    items: ItemTable
    events: pa.Table
    timelines: Timelines
    taste: np.ndarray  # int [users], the category each user prefers


def category_of(item: int) -> int:
    return item % CATEGORIES


def make_shop(seed: int = 0, users: int = 200, items: int = 240, events: int = 5_000) -> Shop:
    random = np.random.default_rng(seed)
    catalog = pa.table(
        {
            "item_id": [f"i{k}" for k in range(items)],
            "merchant_id": [f"m{k // CATEGORIES % MERCHANTS}" for k in range(items)],
            "category": [f"c{category_of(k)}" for k in range(items)],
            "price": pa.array([None if k % 17 == 0 else float(k % 40 - 3) for k in range(items)], pa.float32()),
            "title": [f"item {k}" for k in range(items)],
            "image_url": [""] * items,
            "available": [True] * items,
        }
    ).cast(CATALOG_SCHEMA)
    taste = random.integers(0, CATEGORIES, users)
    user = random.integers(0, users, events)
    category = np.where(random.random(events) < 0.7, taste[user], random.integers(0, CATEGORIES, events))
    item = (random.zipf(1.6, events) % (items // CATEGORIES)) * CATEGORIES + category
    ts = START + random.integers(0, 30 * DAY, events)
    happened = pa.table(
        {
            "event_id": [f"e{k}" for k in range(events)],
            "ts": pa.array(ts).cast(TIMESTAMP),
            "user_id": [f"u{k}" for k in user],
            "kind": [EVENT_KINDS[k] for k in random.choice(4, events, p=[0.8, 0.1, 0.05, 0.05])],
            "item_id": [f"i{k}" for k in item],
            "merchant_id": [f"m{k // CATEGORIES % MERCHANTS}" for k in item],
            "country": ["FR"] * events,
            "display_id": pa.nulls(events, pa.string()),
            "order_id": pa.nulls(events, pa.string()),
            "order_value": pa.nulls(events, pa.float64()),
        }
    ).cast(EVENT_SCHEMA)
    table = ItemTable.of(catalog)
    return Shop(table, happened, Timelines.of(happened, table), taste)


def make_examples(shop: Shop, requests: int = 1_500, seed: int = 1) -> pa.Table:
    """Ten random items of a merchant per request; users take their category's with probability .4, else .05."""
    random = np.random.default_rng(seed)
    rows = []
    for number in range(requests):
        user, merchant = int(random.integers(0, len(shop.taste))), int(random.integers(0, MERCHANTS))
        ts = START + int(random.integers(5 * DAY, 30 * DAY))
        own = [k for k in range(len(shop.items)) if k // CATEGORIES % MERCHANTS == merchant]
        for item in random.choice(own, 10, replace=False).tolist():
            taken = random.random() < (0.4 if category_of(item) == shop.taste[user] else 0.05)
            rows.append((f"q{number}", ts, f"u{user}", f"m{merchant}", "FR", "", "phone", f"i{item}", -1, int(taken)))
    columns = list(zip(*rows, strict=True))
    arrays = [pa.array(column) for column in columns]
    arrays[1] = arrays[1].cast(TIMESTAMP)
    return pa.table(dict(zip(EXAMPLE_SCHEMA.names, arrays, strict=True))).cast(EXAMPLE_SCHEMA)


def display_row(
    number: int, ts: int, user: str, slots: list[dict], recent: list[tuple[str, str]], names: list[str]
) -> dict:
    """One display as the gateway would log it; `slots` have position, item_id, category and dense."""
    return {
        "display_id": f"d{number}",
        "ts": ts,
        "user_id": user,
        "merchant_id": "m0",
        "country": "FR",
        "publisher": "p",
        "device": "phone",
        "experiment": "x",
        "population": "A",
        "config_hash": "h",
        "bundle_version": "v",
        "degraded": [],
        "recent_items": [item for item, _ in recent],
        "recent_categories": [category for _, category in recent],
        "dense_names": names,
        "stage_us": [],
        "slots": [{"sources": ["gbo"], "score": 0.1, **slot} for slot in slots],
    }


def logged_display(shop: Shop, number: int, request: Request, features: BannerFeatures) -> dict:
    """What the gateway writes of a request and its features."""
    slots = [
        {
            "position": 0,
            "item_id": shop.items.items.id(int(item)),
            "category": shop.items.categories.id(int(shop.items.category[item])),
            "dense": features.dense[k].tolist(),
        }
        for k, item in enumerate(features.positions)
    ]
    recent = [
        (shop.items.items.id(int(item)), shop.items.categories.id(int(category)))
        for item, category in zip(features.recent_items, features.recent_categories, strict=True)
    ]
    row = display_row(number, request.ts, request.user_id, slots, recent, list(features.dense_names))
    return {**row, "merchant_id": shop.items.merchants.id(request.merchant)}


def displays_of(rows: list[dict]) -> pa.Table:
    return pa.Table.from_pylist(rows, schema=DISPLAY_SCHEMA)


def tracked(rows: list[tuple[str, int, str, str, str, str | None]]) -> pa.Table:
    """Rows of (event_id, ts, user_id, kind, item_id, display_id)."""
    return pa.Table.from_pylist(
        [
            {
                "event_id": event,
                "ts": ts,
                "user_id": user,
                "kind": kind,
                "item_id": item,
                "merchant_id": "m0",
                "country": "FR",
                "display_id": display,
            }
            for event, ts, user, kind, item, display in rows
        ],
        schema=EVENT_SCHEMA,
    )


def request_of(shop: Shop, user: int, merchant: int, known: bool = True) -> Request:
    ts = START + 25 * DAY
    history = shop.timelines.history(user, before=ts) if known else NO_HISTORY
    return Request(shop.timelines.users[user] if known else "stranger", merchant, "FR", ts, history, "p", "phone")


def candidates_of(shop: Shop, merchant: int, count: int) -> np.ndarray:
    own = shop.items.slice_of(merchant)
    return np.arange(own.start, min(own.start + count, own.stop), dtype=np.int32)
