"""Any table with one event per row, its columns named on the command line.

--map user_id=visitor --map ts=when --map item_id=sku --map kind=action --constant merchant_id=shop1
--kind-map look=view --kind-map order=sale --kind-map return=skip
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from data.errors import DataError
from data.importers.formats import KINDS
from data.importers.forms import (
    ABOUT_ITEMS,
    UNKNOWN_COUNTRY,
    EventFile,
    Field,
    Format,
    LeaveOut,
    identity,
    kind,
    moment,
    number,
    optional,
    place,
    refunds,
    text,
)
from data.readers.places import places_in
from data.readers.sniffing import Reading, sniff
from data.readers.source import Source
from data.schema import EVENT_SCHEMA

FIELDS = (*EVENT_SCHEMA.names, *ABOUT_ITEMS.names)


def mapped_format(columns: Mapping[str, str], constants: Mapping[str, str], kinds: Mapping[str, str]) -> Format:
    """The format that a mapping describes.

    A field that is neither mapped nor constant is taken from the column of its own name. Without an `event_id` an id is
    made of the row's content, and of equal rows each counts. Only sales keep `order_value`.

    Args:
        columns: field -> column. constants: field -> the value of all rows. kinds: value in the file -> kind or "skip".

    Raises:
        DataError: an unknown field or kind, or a field given twice.
    """
    for name in (*columns, *constants):
        if name not in FIELDS:
            raise DataError(f"--map or --constant {name!r}: expected one of {', '.join(FIELDS)}")
    twice = sorted(set(columns) & set(constants))
    if twice:
        raise DataError(f"{twice[0]!r} is both mapped to a column and given as a constant; expected one of the two")
    for raw, meant in kinds.items():
        if meant not in KINDS and meant != "skip":
            raise DataError(f"--kind-map {raw}={meant}: expected one of {', '.join(KINDS)}, skip")
    meaning = {**KINDS, **kinds}
    makers: dict[str, Callable[[str], Field]] = {
        **dict.fromkeys(("event_id", "user_id", "item_id"), identity),
        **dict.fromkeys(("merchant_id", "country"), place),
        **dict.fromkeys(("display_id", "order_id"), optional),
        **dict.fromkeys(("category", "title"), text),
        **dict.fromkeys(("order_value", "price"), number),
        "ts": moment,
        "kind": lambda name: kind(meaning, name),
    }
    fields = {
        name: _constant(name, make(name), constants[name])
        if name in constants
        else _column(name, make(columns.get(name, name)), name in columns)
        for name, make in makers.items()
    }
    of_kind = fields["kind"]
    skipped = Field(lambda source: pc.equal(of_kind.read(source), "skip"), of_kind.columns)
    leave_out = [LeaveOut("rows of kinds to skip", skipped)] if "skip" in kinds.values() else []
    if "order_value" not in constants:
        leave_out.append(refunds(of_kind, number(columns.get("order_value", "order_value"), least=None)))
    return Format("mapping", "", (EventFile(fields, leave_out=tuple(leave_out)),), "content")


def guessed_mapping(paths: Sequence[Path], reading: Reading) -> tuple[dict[str, str], dict[str, str], dict[str, str]]:
    """(columns, constants, kinds) of a file whose columns have usual names: user, item, a time, perhaps more.

    Without a merchant all items are one shop's; without a kind all rows are views.

    Raises:
        DataError: columns with other names.
    """
    place = places_in(paths[0])[0]
    names = sniff(place, reading=reading, unique=False).names
    lower = {name.lower().replace("_", "").replace(" ", ""): name for name in reversed(names)}
    columns = {field: lower[usual] for field, usuals in _USUAL.items() for usual in reversed(usuals) if usual in lower}
    missing = [field for field in ("ts", "user_id", "item_id") if field not in columns]
    if missing:
        raise DataError(
            f"{place.label}: its columns {', '.join(names[:20])} are those of no known format, and none of them is "
            f"known as {' or '.join(missing)}; expected their names, as in --map user_id=COLUMN --map ts=COLUMN"
        )
    constants = {"merchant_id": "shop"} if "merchant_id" not in columns else {}
    return columns, constants | ({"kind": "view"} if "kind" not in columns else {}), _USUAL_KINDS


_USUAL = {
    "event_id": ("eventid",),
    "ts": ("ts", "timestamp", "time", "datetime", "eventtime", "date", "createdat", "when"),
    "user_id": ("userid", "user", "uid", "visitorid", "visitor", "customerid", "customer", "clientid", "sessionid"),
    "item_id": ("itemid", "item", "iid", "productid", "product", "sku", "articleid", "article", "contentid", "videoid"),
    "kind": ("kind", "event", "eventtype", "action", "behavior", "behaviour", "type"),
    "merchant_id": ("merchantid", "merchant", "shopid", "shop", "sellerid", "seller", "store", "storeid"),
    "country": ("country", "countrycode"),
    "order_id": ("orderid", "order", "transactionid"),
    "order_value": ("ordervalue", "value", "amount", "revenue", "total"),
    "category": ("category", "categorypath", "categoryid"),
    "price": ("price",),
    "title": ("title", "name", "itemname", "productname"),
}
_USUAL_KINDS = {
    **dict.fromkeys(("pv", "pageview", "page_view", "detail", "product_view"), "view"),
    **dict.fromkeys(("cart", "addtocart", "add_to_cart"), "click"),
    **dict.fromkeys(("purchase", "buy", "order", "transaction", "conversion"), "sale"),
    **dict.fromkeys(("remove_from_cart", "removefromcart"), "skip"),
}


def _constant(name: str, made: Field, value: str) -> Field:
    """The value, checked as a column of one row would be, for all rows."""

    def read(source: Source) -> pa.Array:
        one = Source("--constant", pa.table({name: [value]}), (name,), time_format=source.time_format)
        return pa.repeat(made.read(one)[0], len(source))

    return Field(read)


def _column(name: str, made: Field, named: bool) -> Field:
    """The column; one that nobody named may be missing, if it is a country's or an event id's."""
    column = made.columns[0]

    def read(source: Source) -> pa.ChunkedArray | pa.Array:
        if named:
            source.column(column)
        elif name in ("event_id", "country") and not source.has(column):
            return pa.repeat(pa.scalar(None if name == "event_id" else UNKNOWN_COUNTRY, pa.string()), len(source))
        return made.read(source)

    return Field(read, made.columns)
