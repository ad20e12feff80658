"""What importers share: what they are given and give back, and the catalog where the source has none."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data.distinct import first_of_each
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
class ImportReport:
    """What happened to the rows of a file.

    Attributes:
        left_out: rows that the format leaves out. why_left_out: which these are, "" if it leaves out none.
        repeated: events whose id had occurred before, dropped.
        moved: events given to another merchant, that of their item.
        without_item: events of items that the catalog lacks; None without a catalog beside the events.
    """

    rows_read: int
    left_out: int = 0
    why_left_out: str = ""
    repeated: int = 0
    moved: int = 0
    without_item: int | None = None


@dataclass(frozen=True)
class Imported:
    """A table of EVENT_SCHEMA, a table of CATALOG_SCHEMA, and what happened on the way."""

    events: pa.Table
    catalog: pa.Table
    report: ImportReport


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
    left_out: int = 0,
    why_left_out: str = "",
) -> Imported:
    """The last steps of every importer: second copies go, items get one merchant each, the catalog is made.

    Args:
        events: of EVENT_SCHEMA, in file order.
        about: catalog columns known per event ("category", "price", "title"), aligned with `events`.
        left_out, why_left_out: as `ImportReport`.

    Raises:
        DataError: no events remain, or the catalog given holds none of their items.
    """
    numbered = events.append_column("row", pa.array(np.arange(len(events))))
    distinct, repeated = without_second_copies(numbered, str(file))
    report = ImportReport(len(events) + left_out, left_out, why_left_out, repeated)
    if not len(distinct):
        raise DataError(f"{file}: no event remains of {report.rows_read} rows; expected at least one")
    about = {name: pc.take(column, distinct["row"]) for name, column in about.items()}
    return with_catalog(distinct.drop_columns("row"), about, options.catalog, report)


def with_catalog(
    events: pa.Table, about: Mapping[str, pa.ChunkedArray], catalog: Path | None, report: ImportReport
) -> Imported:
    """Events with the catalog in a file, or with one made of them; each item, with all its events, has one merchant.

    Raises:
        DataError: the catalog given holds none of the events' items.
    """
    if catalog is None:
        events, moved = _with_one_merchant_per_item(events)
        return Imported(events, derived_catalog(events, about), replace(report, moved=moved))
    given = read_catalog(catalog)
    unknown = pc.sum(pc.invert(pc.is_in(events["item_id"], given["item_id"].combine_chunks()))).as_py()
    if unknown == len(events):
        raise DataError(f"{catalog}: column 'item_id': expected the items of the events, found none of them")
    events, moved = _with_merchants(events, given["item_id"], given["merchant_id"])
    return Imported(events, given, replace(report, moved=moved, without_item=unknown))


def _with_one_merchant_per_item(events: pa.Table) -> tuple[pa.Table, int]:
    """Give every item, and all its events, the merchant that most of its events name (on a tie the least id)."""
    pairs = events.group_by(["item_id", "merchant_id"]).aggregate([([], "count_all")])
    pairs = pairs.sort_by([("item_id", "ascending"), ("count_all", "descending"), ("merchant_id", "ascending")])
    first = first_of_each(pairs, "item_id")
    return _with_merchants(events, first["item_id"], first["merchant_id"])


def _with_merchants(events: pa.Table, items: pa.ChunkedArray, merchants: pa.ChunkedArray) -> tuple[pa.Table, int]:
    """The events under the merchants of their items, and how many have another one than before."""
    place = pc.index_in(events["item_id"], items.combine_chunks())
    settled = pc.coalesce(pc.take(merchants.combine_chunks(), place), events["merchant_id"])
    moved = pc.sum(pc.not_equal(settled, events["merchant_id"])).as_py()
    column = events.schema.get_field_index("merchant_id")
    return events.set_column(column, EVENT_SCHEMA.field("merchant_id"), settled), moved


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
