"""A few rows of a workspace's tables, by what differs between them."""

import pyarrow as pa

from data.schema import CATALOG_SCHEMA, EVENT_SCHEMA


def items_of(*names: str) -> pa.Table:
    rows = [
        {"item_id": name, "merchant_id": "m", "category": "", "price": None, "title": name, "image_url": "",
         "available": True}
        for name in names
    ]  # fmt: skip
    return pa.Table.from_pylist(rows, schema=CATALOG_SCHEMA)


def views_of(*rows: tuple[str, int, str]) -> pa.Table:
    given = [
        {"event_id": name, "ts": ts, "user_id": "u", "kind": "view", "item_id": item, "merchant_id": "m",
         "country": "FR"}
        for name, ts, item in rows
    ]  # fmt: skip
    return pa.Table.from_pylist(given, schema=EVENT_SCHEMA)
