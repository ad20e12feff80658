"""What importers share: what they are given and give back, and the catalog where the source has none."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from data.errors import DataError
from data.readers import read_catalog
from data.readers.source import Source
from data.readers.tables import without_second_copies
from data.schema import CATALOG_SCHEMA, EVENT_SCHEMA

UNKNOWN_COUNTRY = "XX"
"""The country of events whose source names none (ISO 3166 leaves the code to users)."""


@dataclass(frozen=True)
class ImportOptions:
    """What the command line says beside the file.

    Attributes:
        catalog: a catalog in Tandem's layout (MovieLens: its movies file).
        columns: field of Tandem's tables -> column of the file.
        constants: field -> the value that all rows have.
        kinds: value in the file -> event kind, or "skip" for rows to leave out.
    """

    catalog: Path | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    constants: Mapping[str, str] = field(default_factory=dict)
    kinds: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Imported:
    """A table of EVENT_SCHEMA, a table of CATALOG_SCHEMA, and what happened on the way, as counts under a sentence."""

    events: pa.Table
    catalog: pa.Table
    report: dict[str, int]


Importer = Callable[[Path, ImportOptions], Imported]


def first_present(source: Source, *names: str) -> str:
    """The first of several names for one column that the file has; the first name if it has none of them."""
    return next((name for name in names if source.has(name)), names[0])


def event_ids(*columns: pa.ChunkedArray) -> pa.ChunkedArray:
    """Ids for a source without any: its values joined, so that a row that occurs twice gets one id twice."""
    parts = [
        pc.cast(pc.cast(one, pa.int64()) if pa.types.is_timestamp(one.type) else one, pa.string()) for one in columns
    ]
    return pc.binary_join_element_wise(*parts, ":")


def event_table(columns: Mapping[str, pa.ChunkedArray | pa.Array | str | None]) -> pa.Table:
    """A table of EVENT_SCHEMA; a string stands for all rows, a missing column for nulls."""
    rows = len(columns["event_id"])  # type: ignore[arg-type]
    filled = []
    for one in EVENT_SCHEMA:
        column = columns.get(one.name)
        if column is None or isinstance(column, str):
            column = pa.repeat(pa.scalar(column, one.type), rows)
        filled.append(column)
    return pa.table(filled, EVENT_SCHEMA)


def assemble(
    file: Path,
    events: pa.Table,
    about: Mapping[str, pa.ChunkedArray],
    options: ImportOptions,
    left_out: Mapping[str, int],
) -> Imported:
    """The last steps of every importer: second copies go, items get one merchant each, the catalog is made.

    Args:
        events: of EVENT_SCHEMA, in file order.
        about: catalog columns known per event ("category", "price", "title"), aligned with `events`.
        left_out: what the importer left out, and how many rows.

    Raises:
        DataError: no events remain, or the catalog given holds none of their items.
    """
    report = {"rows read": len(events) + sum(left_out.values()), **left_out}
    numbered = events.append_column("row", pa.array(np.arange(len(events))))
    numbered, report["second copies of an event dropped"] = without_second_copies(numbered, str(file))
    rows = numbered["row"]
    events = numbered.drop_columns("row")
    if not len(events):
        raise DataError(f"{file}: no event remains of {report['rows read']} rows; expected at least one")
    about = {name: pc.take(column, rows) for name, column in about.items()}
    if options.catalog is None:
        events, moved = with_one_merchant_per_item(events)
        return Imported(events, derived_catalog(events, about), report | moved)
    catalog = read_catalog(options.catalog)
    events, moved = with_merchants_of(catalog, events, options.catalog)
    return Imported(events, catalog, report | moved)


def with_one_merchant_per_item(events: pa.Table) -> tuple[pa.Table, dict[str, int]]:
    """Give every item, and all its events, the merchant that most of its events name (on a tie the least id)."""
    pairs = events.group_by(["item_id", "merchant_id"]).aggregate([([], "count_all")])
    pairs = pairs.sort_by([("item_id", "ascending"), ("count_all", "descending"), ("merchant_id", "ascending")])
    frame = pairs.to_pandas().drop_duplicates("item_id")
    return _with_merchants(events, frame["item_id"], frame["merchant_id"])


def with_merchants_of(catalog: pa.Table, events: pa.Table, file: Path) -> tuple[pa.Table, dict[str, int]]:
    """Give every event the merchant under which the catalog has its item; events of other items stay as they are."""
    unknown = pc.sum(pc.invert(pc.is_in(events["item_id"], catalog["item_id"].combine_chunks()))).as_py()
    if unknown == len(events):
        raise DataError(f"{file}: column 'item_id': expected the items of the events, found none of them")
    frame = catalog.select(["item_id", "merchant_id"]).to_pandas()
    events, moved = _with_merchants(events, frame["item_id"], frame["merchant_id"])
    return events, moved | {"events of items that the catalog lacks": unknown}


def _with_merchants(events: pa.Table, items: pd.Series, merchants: pd.Series) -> tuple[pa.Table, dict[str, int]]:
    place = pc.index_in(events["item_id"], pa.array(items))
    settled = pc.coalesce(pc.take(pa.array(merchants, pa.string()), place), events["merchant_id"])
    moved = pc.sum(pc.not_equal(settled, events["merchant_id"])).as_py()
    column = events.schema.get_field_index("merchant_id")
    events = events.set_column(column, EVENT_SCHEMA.field("merchant_id"), settled)
    return events, {"events moved to the merchant of their item": moved}


def derived_catalog(events: pa.Table, about: Mapping[str, pa.ChunkedArray]) -> pa.Table:
    """One row per item of the events; category, price and title are the newest known ones, the title else the id."""
    columns = {"item_id": events["item_id"], "merchant_id": events["merchant_id"], "ts": events["ts"], **about}
    frame = pa.table(columns).to_pandas().sort_values("ts", kind="stable").drop(columns="ts")
    for name in set(about) & {"category", "title"}:
        frame[name] = frame[name].mask(frame[name] == "")
    items = frame.groupby("item_id", sort=True).last().reset_index()  # `last` passes over what is unknown
    rows = len(items)
    category = items["category"].fillna("") if "category" in items else [""] * rows
    title = items["title"].fillna(items["item_id"]) if "title" in items else items["item_id"]
    price = (
        pa.array(items["price"], pa.float64(), from_pandas=True) if "price" in items else pa.nulls(rows, pa.float64())
    )
    return pa.table(
        {
            "item_id": pa.array(items["item_id"], pa.string()),
            "merchant_id": pa.array(items["merchant_id"], pa.string()),
            "category": pa.array(category, pa.string()),
            "price": pc.cast(price, pa.float32()),
            "title": pa.array(title, pa.string()),
            "image_url": pa.repeat(pa.scalar(""), rows),
            "available": pa.repeat(pa.scalar(True), rows),
        },
        CATALOG_SCHEMA,
    )
