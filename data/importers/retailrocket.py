"""RetailRocket: views, carts and purchases in one shop.

The sample's columns are `ts`, `user`, `event`, `item`; the published file's (`timestamp`, `visitorid`, `itemid`,
`transactionid`) are read as well.
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
from data.readers.columns import choices, ids, optional_ids, times
from data.readers.source import open_source

MERCHANT = "retailrocket"
SALE_VALUE = 1.0
"""The source has no prices: every sale counts the same."""

_KINDS = {"view": "view", "addtocart": "click", "transaction": "sale"}
_COLUMNS = ("ts", "timestamp", "user", "visitorid", "event", "item", "itemid", "transactionid")


def load(file: Path, options: ImportOptions) -> Imported:
    """Carts become clicks, transactions become sales worth 1; there is no country and no display."""
    source = open_source(file, _COLUMNS)
    kind = choices(source, "event", _KINDS)
    ts = times(source, first_present(source, "ts", "timestamp"))
    user = ids(source, first_present(source, "user", "visitorid"))
    item = ids(source, first_present(source, "item", "itemid"))
    order = optional_ids(source, "transactionid")
    columns = {
        "event_id": event_ids(ts, user, kind, item, pc.fill_null(order, "")),
        "ts": ts,
        "user_id": user,
        "kind": kind,
        "item_id": item,
        "merchant_id": MERCHANT,
        "country": UNKNOWN_COUNTRY,
        "order_id": order,
        "order_value": pc.if_else(pc.equal(kind, "sale"), SALE_VALUE, None),
    }
    return assemble(file, event_table(columns), {}, options)
