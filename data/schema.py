"""The tables at Tandem's boundary: events, catalog, displays. Ids are strings here, timestamps UTC microseconds."""

from enum import IntEnum

import pyarrow as pa

TIMESTAMP = pa.timestamp("us", tz="UTC")

DAY_US = 86_400_000_000
"""Microseconds of a day."""


class EventKind(IntEnum):
    """What a user did. The names are the strings of the `kind` column; the values are the codes in timelines. On the
    wire a view is 4, and 0 where a kind may be left out (`proto/tandem/v1/tandem.proto`): the code is that modulo 4."""

    view = 0  # of a product page on the merchant's site
    click = 1  # on a slot of a banner
    landing = 2  # a click that reached the product page
    sale = 3


EVENT_KINDS: tuple[str, ...] = tuple(kind.name for kind in EventKind)

EVENT_SCHEMA = pa.schema(
    [
        pa.field("event_id", pa.string(), nullable=False),  # unique; a second one with the same id is dropped
        pa.field("ts", TIMESTAMP, nullable=False),
        pa.field("user_id", pa.string(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),  # one of EVENT_KINDS
        pa.field("item_id", pa.string(), nullable=False),
        pa.field("merchant_id", pa.string(), nullable=False),
        pa.field("country", pa.string(), nullable=False),
        pa.field("display_id", pa.string()),  # click, landing
        pa.field("order_id", pa.string()),  # sale
        pa.field("order_value", pa.float64()),  # sale, in the merchant's currency, >= 0
    ]
)

CATALOG_SCHEMA = pa.schema(
    [
        pa.field("item_id", pa.string(), nullable=False),  # unique over all merchants
        pa.field("merchant_id", pa.string(), nullable=False),
        pa.field("category", pa.string(), nullable=False),  # a path such as "home/furniture/desk"; "" if unknown
        pa.field("price", pa.float32()),  # null if unknown
        pa.field("title", pa.string(), nullable=False),
        pa.field("image_url", pa.string(), nullable=False),  # "" if none
        pa.field("available", pa.bool_(), nullable=False),
    ]
)

SLOT_TYPE = pa.struct(
    [
        pa.field("position", pa.int32(), nullable=False),  # 0 is the first slot
        pa.field("item_id", pa.string(), nullable=False),
        pa.field("category", pa.string(), nullable=False),
        pa.field("sources", pa.list_(pa.string()), nullable=False),  # every source that proposed the item
        pa.field("score", pa.float32(), nullable=False),
        pa.field("dense", pa.list_(pa.float32()), nullable=False),  # the ranker's dense features, as at display time
        pa.field("propensity", pa.float32()),  # P(this item here | the pool, the slots before); null: not known
        pa.field("shadow_score", pa.float32()),  # of a ranker that scores for the log alone; null: there was none
    ]
)

DISPLAY_SCHEMA = pa.schema(
    [
        pa.field("display_id", pa.string(), nullable=False),
        pa.field("ts", TIMESTAMP, nullable=False),
        pa.field("user_id", pa.string(), nullable=False),
        pa.field("merchant_id", pa.string(), nullable=False),
        pa.field("country", pa.string(), nullable=False),
        pa.field("publisher", pa.string(), nullable=False),
        pa.field("device", pa.string(), nullable=False),
        pa.field("experiment", pa.string(), nullable=False),
        pa.field("population", pa.string(), nullable=False),
        pa.field("config_hash", pa.string(), nullable=False),
        pa.field("bundle_version", pa.string(), nullable=False),
        pa.field("degraded", pa.list_(pa.string()), nullable=False),  # what failed open: "led: late"; empty if nothing
        pa.field("recent_items", pa.list_(pa.string()), nullable=False),  # the user's, newest last, as the ranker saw
        pa.field("recent_categories", pa.list_(pa.string()), nullable=False),
        pa.field("dense_names", pa.list_(pa.string()), nullable=False),  # names of the slots' dense features, in order
        pa.field("stage_us", pa.map_(pa.string(), pa.int64()), nullable=False),  # microseconds spent per stage
        pa.field("slots", pa.list_(SLOT_TYPE), nullable=False),
        pa.field("surface", pa.string()),  # "" or null: a banner; "candidates", "similar": these answers, logged
        pa.field("policy", pa.string()),  # "softmax t=0.3 among=34"; "": no exploration; null: a log of before rules
        pa.field("rules", pa.list_(pa.string())),  # what rules did: "diversity: 2 moved"; null: a log of before rules
    ]
)
"""The last columns, and a slot's last fields, are null in logs that were written before Tandem had them."""
