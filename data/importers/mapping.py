"""Any table with one event per row, its columns named on the command line.

--map user_id=visitor --map ts=when --map item_id=sku --map kind=action --constant merchant_id=shop1
--kind-map look=view --kind-map order=sale --kind-map return=skip
"""

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from data.errors import DataError
from data.importers.common import UNKNOWN_COUNTRY, Imported, ImportOptions, assemble, event_table
from data.readers.columns import choices, ids, numbers, optional_ids, texts, times
from data.readers.source import Source, open_source
from data.readers.tables import KINDS, refuse_sales_without_value
from data.schema import EVENT_SCHEMA

ABOUT_ITEMS = ("category", "price", "title")
FIELDS = (*EVENT_SCHEMA.names, *ABOUT_ITEMS)

Check = Callable[[Source, str], pa.ChunkedArray]


def load(file: Path, options: ImportOptions) -> Imported:
    """A field that is neither mapped nor constant is taken from the column of its own name.

    Without an `event_id` the row's number is the id; without a `country` it is XX. Only sales keep `order_value`.

    Raises:
        DataError: an unknown field, a column the file lacks, or the first cell that will not do.
    """
    for name in (*options.columns, *options.constants):
        if name not in FIELDS:
            raise DataError(f"--map or --constant {name!r}: expected one of {', '.join(FIELDS)}")
    twice = sorted(set(options.columns) & set(options.constants))
    if twice:
        raise DataError(f"{twice[0]!r} is both mapped to a column and given as a constant; expected one of the two")
    meaning = _kinds(options)
    mapped = {name: options.columns.get(name, name) for name in FIELDS if name not in options.constants}
    source = open_source(file, list(mapped.values()))
    if not len(source):
        for name in ("ts", "user_id", "item_id"):
            source.column(mapped.get(name, name))
        raise DataError(f"{source.label} holds no rows; expected at least one event")

    def read(name: str, check: Check) -> pa.ChunkedArray:
        """The field's column, checked; a constant is checked as a column of one row would be."""
        if name not in options.constants:
            if name in options.columns:
                source.column(mapped[name])
            return check(source, mapped[name])
        one = Source("--constant", pa.table({name: [options.constants[name]]}), (name,), lambda row: None)
        return pa.chunked_array([pa.repeat(check(one, name)[0], len(source))])

    def given(name: str) -> bool:
        return name in options.constants or name in options.columns or source.has(name)

    kind = read("kind", lambda table, column: choices(table, column, meaning))
    is_sale = pc.equal(kind, "sale")
    columns = {
        "event_id": read("event_id", ids) if given("event_id") else pa.array(map(str, range(1, len(source) + 1))),
        "ts": read("ts", times),
        "user_id": read("user_id", ids),
        "kind": kind,
        "item_id": read("item_id", ids),
        "merchant_id": read("merchant_id", ids),
        "country": read("country", ids) if given("country") else UNKNOWN_COUNTRY,
        "display_id": read("display_id", optional_ids),
        "order_id": read("order_id", optional_ids),
        "order_value": pc.if_else(is_sale, read("order_value", numbers), None),
    }
    refuse_sales_without_value(source, columns, mapped.get("order_value", "order_value"))
    checks: dict[str, Check] = {"category": texts, "price": numbers, "title": texts}
    kept = pc.not_equal(kind, "skip")
    about = {name: read(name, checks[name]).filter(kept) for name in ABOUT_ITEMS if given(name)}
    events = event_table(columns).filter(kept)
    return assemble(file, events, about, options, len(source) - len(events), "rows of kinds to skip")


def _kinds(options: ImportOptions) -> dict[str, str]:
    for raw, kind in options.kinds.items():
        if kind not in KINDS and kind != "skip":
            raise DataError(f"--kind-map {raw}={kind}: expected one of {', '.join(KINDS)}, skip")
    return {**KINDS, **options.kinds}
