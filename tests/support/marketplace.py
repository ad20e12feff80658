"""A small made-up marketplace: a catalog, and users of a few tastes."""

import numpy as np
import pyarrow as pa

from data.schema import CATALOG_SCHEMA, EVENT_SCHEMA, TIMESTAMP

DAY_US = 86_400_000_000
START_US = 1_700_000_000_000_000
TASTES = 6


def catalog_of(sizes: tuple[int, ...]) -> pa.Table:
    """Merchants m0, m1, ... of the given sizes; every eleventh item is not available."""
    rows = [(f"m{m}", f"m{m}-{i:04d}") for m, size in enumerate(sizes) for i in range(size)]
    return pa.table(
        {
            "item_id": [item for _, item in rows],
            "merchant_id": [merchant for merchant, _ in rows],
            "category": [""] * len(rows),
            "price": pa.nulls(len(rows), pa.float32()),
            "title": [f"title of {item}" for _, item in rows],
            "image_url": [""] * len(rows),
            "available": [place % 11 != 10 for place in range(len(rows))],
        }
    ).cast(CATALOG_SCHEMA)


def events_of(catalog: pa.Table, users: int, seed: int, countries: tuple[str, ...] = ("AA", "BB")) -> pa.Table:
    """Each user has one of TASTES tastes and views mostly items whose number has that remainder, at all merchants."""
    rng = np.random.default_rng(seed)
    merchants = np.array(catalog["merchant_id"].to_pylist())
    rows: list[tuple[int, str, str, str, str]] = []
    for user in range(users):
        country = countries[0] if rng.random() < 0.7 else countries[-1]
        taste = rng.integers(TASTES)
        for _ in range(int(rng.integers(3, 14))):
            item = int(rng.integers(len(catalog)))
            if rng.random() < 0.85:
                item = min(item - item % TASTES + int(taste), len(catalog) - 1)
            ts = START_US + int(rng.integers(10 * DAY_US))
            rows.append((ts, f"u{user:04d}", catalog["item_id"][item].as_py(), str(merchants[item]), country))
    count = len(rows)
    return pa.table(
        {
            "event_id": [f"e{place}" for place in range(count)],
            "ts": pa.array([row[0] for row in rows], pa.int64()).cast(TIMESTAMP),
            "user_id": [row[1] for row in rows],
            "kind": ["view" if place % 17 else "click" for place in range(count)],
            "item_id": [row[2] for row in rows],
            "merchant_id": [row[3] for row in rows],
            "country": [row[4] for row in rows],
            "display_id": pa.nulls(count, pa.string()),
            "order_id": pa.nulls(count, pa.string()),
            "order_value": pa.nulls(count, pa.float64()),
        }
    ).cast(EVENT_SCHEMA)
