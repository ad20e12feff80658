"""REES46: events of a multi-category store, whose brands stand for merchants.

The sample's columns are `ts`, `user_id`, `event`, `item_id`, `category_code`, `category_id`, `brand_id` and `price_z`,
a standardised log price: its exponential is kept, a positive price that compares items but is in no currency. The
columns of the monthly files as published (`event_time`, `event_type`, `product_id`, `brand`, `price`) are read as well.
"""

from pathlib import Path

import pyarrow.compute as pc

from data.importers.common import (
    UNKNOWN_COUNTRY,
    Imported,
    ImportOptions,
    assemble,
    event_ids,
    event_table,
    first_present,
)
from data.readers.columns import choices, ids, numbers, texts, times
from data.readers.source import open_source

UNKNOWN_BRAND = "unknown"
"""The merchant of rows that name no brand. (The sample writes 3425 for an unknown brand: a merchant like any other.)"""

_KINDS = {"view": "view", "cart": "click", "purchase": "sale", "remove_from_cart": "skip"}
_COLUMNS = (
    *("ts", "event_time", "user_id", "event", "event_type", "item_id", "product_id", "category_code", "category_id"),
    *("brand_id", "brand", "price_z", "price"),
)


def load(file: Path, options: ImportOptions) -> Imported:
    """Carts become clicks, purchases become sales worth the item's price; there is no country and no display."""
    source = open_source(file, _COLUMNS)
    kind = choices(source, first_present(source, "event", "event_type"), _KINDS)
    ts, user = times(source, first_present(source, "ts", "event_time")), ids(source, "user_id")
    item = ids(source, first_present(source, "item_id", "product_id"))
    if source.has("price"):
        price = numbers(source, "price")
    else:
        source.column("price_z")
        price = pc.exp(numbers(source, "price_z", least=None))
    brand = first_present(source, "brand_id", "brand")
    source.column(brand)
    code, category = texts(source, "category_code"), texts(source, "category_id")
    is_sale = pc.equal(kind, "sale")
    without = pc.index(pc.and_(is_sale, pc.is_null(price)), True).as_py()
    if without >= 0:
        source.fail(
            first_present(source, "price_z", "price"), without, "expected the price of a purchase, found nothing"
        )
    columns = {
        "event_id": event_ids(ts, user, kind, item),
        "ts": ts,
        "user_id": user,
        "kind": kind,
        "item_id": item,
        "merchant_id": texts(source, brand, UNKNOWN_BRAND),
        "country": UNKNOWN_COUNTRY,
        "order_value": pc.if_else(is_sale, price, None),
    }
    # A category id lies within one category code, so code/id is a path; published codes have levels of their own.
    path = pc.binary_join_element_wise(pc.replace_substring(code, ".", "/"), category, "/")
    about = {"category": pc.utf8_trim(path, "/"), "price": price}
    kept = pc.not_equal(kind, "skip")
    events = event_table(columns).filter(kept)
    about = {name: column.filter(kept) for name, column in about.items()}
    return assemble(file, events, about, options, len(source) - len(events), "removals from a cart")
