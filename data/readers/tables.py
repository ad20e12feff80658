"""Events and catalogs in Tandem's own layout (`data/schema.py`), from Parquet or CSV."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from data.distinct import first_of_each, first_repeat
from data.errors import DataError
from data.readers.columns import choices, flags, ids, numbers, optional_ids, places, refuse_cells, texts
from data.readers.source import Source, open_source
from data.readers.times import times
from data.schema import CATALOG_SCHEMA, EVENT_KINDS, EVENT_SCHEMA

logger = logging.getLogger(__name__)

KINDS: dict[str, str] = {kind: kind for kind in EVENT_KINDS}


class EventsRead(NamedTuple):
    """A table of EVENT_SCHEMA with distinct event ids, in file order, and how many second copies were dropped."""

    events: pa.Table
    dropped: int


def read_events(file: Path) -> EventsRead:
    """Read events. `display_id`, `order_id` and, without sales, `order_value` may be missing; others are ignored.

    Raises:
        DataError: the file, row and column of the first thing that is not as EVENT_SCHEMA has it.
    """
    source = open_source(file, EVENT_SCHEMA.names)
    for field in EVENT_SCHEMA:
        if not field.nullable:
            source.column(field.name)
    if not len(source):
        raise DataError(f"{source.label} holds no rows; expected at least one event")
    columns = {
        "event_id": ids(source, "event_id"),
        "ts": times(source, "ts"),
        "user_id": ids(source, "user_id"),
        "kind": choices(source, "kind", KINDS),
        "item_id": ids(source, "item_id"),
        "merchant_id": places(source, "merchant_id"),
        "country": places(source, "country"),
        "display_id": optional_ids(source, "display_id"),
        "order_id": optional_ids(source, "order_id"),
        "order_value": numbers(source, "order_value"),
    }
    refuse_sales_without_value(source, columns)
    return without_second_copies(pa.table(columns, EVENT_SCHEMA), source.label)


def read_catalog(file: Path) -> pa.Table:
    """Read a catalog as a table of CATALOG_SCHEMA. Only `item_id` and `merchant_id` are required.

    Elsewhere a missing column or value means: category unknown, price unknown, the item's id as its title, no image,
    available.

    Raises:
        DataError: the file, row and column of the first thing that is not as CATALOG_SCHEMA has it; an item twice.
    """
    source = open_source(file, CATALOG_SCHEMA.names)
    merchant = places(source, "merchant_id")
    return pa.table({**item_columns(source), "merchant_id": merchant}).select(CATALOG_SCHEMA.names).cast(CATALOG_SCHEMA)


def item_columns(source: Source) -> dict[str, pa.ChunkedArray]:
    """A catalog file's columns but for the merchant: what is missing filled in as `read_catalog` says.

    Raises:
        DataError: no rows; an item without an id, or twice; a cell that is not as CATALOG_SCHEMA has it.
    """
    item = ids(source, "item_id")
    if not len(source):
        raise DataError(f"{source.label} holds no rows; expected at least one item")
    row = first_repeat(item)
    if row is not None:
        source.fail("item_id", row, f"expected an item only once, found {item[row].as_py()!r} again")
    title = texts(source, "title")
    return {
        "item_id": item,
        "category": texts(source, "category"),
        "price": pc.cast(numbers(source, "price"), pa.float32()),
        "title": pc.if_else(pc.equal(title, ""), item, title),
        "image_url": texts(source, "image_url"),
        "available": flags(source, "available", default=True),
    }


def refuse_sales_without_value(
    source: Source, columns: Mapping[str, pa.ChunkedArray], name: str = "order_value"
) -> None:
    """Raises DataError at the first sale whose `order_value` is null; `name` is the file's column for it."""
    without = pc.and_(pc.equal(columns["kind"], "sale"), pc.is_null(columns["order_value"]))
    refuse_cells(source, name, columns["order_value"], without, "expected the value of the sale")


def without_second_copies(events: pa.Table, label: str) -> EventsRead:
    """Of several events with one id, the first in file order."""
    distinct = first_of_each(events, "event_id")
    dropped = len(events) - len(distinct)
    if dropped:
        logger.info("%s: dropped %d events whose event_id had occurred before", label, dropped)
    return EventsRead(distinct, dropped)
