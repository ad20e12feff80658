"""What a catalog file changes in a catalog: items of other prices, titles, categories or availability, new and gone."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from data.categories import one_spelling
from data.readers.columns import ids
from data.readers.source import Source, open_source
from data.readers.tables import item_columns
from data.schema import CATALOG_SCHEMA


@dataclass(frozen=True)
class CatalogChanges:
    """What a file asks for. Each of its rows is counted once; `retired` holds items that it lacks, too.

    Attributes:
        rows: of CATALOG_SCHEMA, what its items are to be, and those that are retired for want of a row.
        added: new items. retired, returned: known ones that are no longer available, or are again. changed: known ones
            with another price, title, category or picture. unchanged: known ones that are as they were.
        missing: of the retired ones, those that the file lacks. refused: rows left out: items of another merchant.
        unread: the file's columns that no catalog has.
    """

    rows: pa.Table
    added: int
    changed: int
    retired: int
    returned: int
    unchanged: int
    missing: int
    refused: int
    unread: tuple[str, ...]

    def counts(self) -> dict[str, int]:
        names = ("added", "changed", "retired", "returned", "unchanged", "missing", "refused")
        return {name: getattr(self, name) for name in names}


def read_changes(
    file: Path, served: pa.Table, stored: pa.Table, retire_missing: bool = False, skip_bad: int = 0
) -> CatalogChanges:
    """Read the rows of a catalog file against what is there. `item_id` is required, of new items `merchant_id` too.

    A column that the file lacks stays as it is; of a new item it is unknown, and the item available.

    Args:
        served: the catalog in service, which rows are counted against. stored: the workspace's, which keeps what the
            file does not say; it may know other items. Both of CATALOG_SCHEMA.
        retire_missing: items that the file lacks are no longer available.
        skip_bad: so many rows at most may name another merchant than their item has, and are left out.

    Raises:
        DataError: what is wrong with the file, and where.
    """
    known = pa.concat_tables([stored, served.filter(pc.invert(_among(served, stored)))])
    source = open_source(file, CATALOG_SCHEMA.names)
    rows = _rows(source, known)
    refused = _of_other_merchants(source, rows, known, skip_bad)
    rows = rows.filter(pa.array(~refused))
    missing = known.slice(0, 0)
    if retire_missing:
        missing = known.filter(pc.and_(known["available"], pc.invert(_among(known, rows))))
        gone = pa.repeat(pa.scalar(False), len(missing))
        missing = missing.set_column(CATALOG_SCHEMA.names.index("available"), CATALOG_SCHEMA.field("available"), gone)
    place = pc.index_in(rows["item_id"], served["item_id"].combine_chunks())
    is_known = pc.is_valid(place).to_numpy()
    before, after = served.take(place.drop_null()), rows.filter(pa.array(is_known))
    was, now = before["available"].to_numpy(), after["available"].to_numpy()
    differs = _differ(before, after) & (was == now)
    return CatalogChanges(
        rows=pa.concat_tables([rows, missing]),
        added=int(np.count_nonzero(~is_known)),
        changed=int(np.count_nonzero(differs)),
        retired=int(np.count_nonzero(was & ~now)) + len(missing),
        returned=int(np.count_nonzero(~was & now)),
        unchanged=int(np.count_nonzero(~differs & (was == now))),
        missing=len(missing),
        refused=int(np.count_nonzero(refused)),
        unread=tuple(name for name in source.names if name not in CATALOG_SCHEMA.names),
    )


def _rows(source: Source, known: pa.Table) -> pa.Table:
    """The file's rows, whole: what a column it lacks is of known items, filled in."""
    given = item_columns(source)
    item = given["item_id"]
    place = pc.index_in(item, known["item_id"].combine_chunks())
    merchant = ids(source, "merchant_id") if source.has("merchant_id") else known["merchant_id"].take(place)
    row = pc.index(pc.is_null(merchant), True).as_py()
    if row >= 0:
        source.fail("item_id", row, f"item {item[row].as_py()!r} is new; expected its merchant in a column merchant_id")
    columns = {"merchant_id": merchant} | {
        name: values if source.has(name) else pc.coalesce(known[name].combine_chunks().take(place), values)
        for name, values in given.items()
    }
    rows = pa.table(columns).select(CATALOG_SCHEMA.names).cast(CATALOG_SCHEMA)
    spelled = one_spelling(rows["category"], known=pc.unique(known["category"]).to_pylist())
    return rows.set_column(2, CATALOG_SCHEMA.field("category"), spelled)


def _of_other_merchants(source: Source, rows: pa.Table, known: pa.Table, skip_bad: int) -> NDArray[np.bool_]:
    """bool [n]: rows of items that have another merchant. Raises DataError if they are more than may be left out."""
    there = known["merchant_id"].combine_chunks().take(pc.index_in(rows["item_id"], known["item_id"].combine_chunks()))
    refused: NDArray[np.bool_] = pc.fill_null(pc.not_equal(rows["merchant_id"], there), False).to_numpy()
    count = int(np.count_nonzero(refused))
    if count > skip_bad:
        row = int(np.flatnonzero(refused)[0])
        item, said = rows["item_id"][row].as_py(), rows["merchant_id"][row].as_py()
        more = "" if count == 1 else f", and {count - 1:,} more rows are alike"
        source.fail(
            "merchant_id", row, f"item {item!r} is of merchant {said!r} here, of {there[row].as_py()!r} in service"
            f"{more}; expected item ids of one merchant each, or --skip-bad {count}, which leaves such rows out"
        )  # fmt: skip
    return refused


def _differ(before: pa.Table, after: pa.Table) -> NDArray[np.bool_]:
    """bool [n]: rows of which price, title, category or picture differ."""
    found = np.zeros(len(after), bool)
    for name in ("category", "title", "image_url"):
        found |= pc.not_equal(before[name], after[name]).to_numpy()
    old, new = (pc.fill_null(one["price"], float("nan")).to_numpy() for one in (before, after))
    return found | ((old != new) & ~(np.isnan(old) & np.isnan(new)))


def _among(rows: pa.Table, others: pa.Table) -> pa.ChunkedArray:
    return pc.is_in(rows["item_id"], value_set=others["item_id"].combine_chunks())
