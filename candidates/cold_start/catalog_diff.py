"""A catalog that takes in new items: positions move, since every merchant's items stay one contiguous slice."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from candidates.encoder import CountryItems
from candidates.errors import CandidatesError
from data.ids import UNKNOWN
from data.items import ItemTable
from data.schema import CATALOG_SCHEMA


@dataclass(frozen=True)
class CatalogDiff:
    """The catalog before (I items, M merchants) and after.

    Attributes:
        moved: int32 [I], where each position of before stands now, ascending.
        added: int32 [A], positions of the new items, ascending.
        merchants: int32 [M], where each merchant stands now, ascending.
    """

    before: ItemTable
    after: ItemTable
    moved: NDArray[np.int32]
    added: NDArray[np.int32]
    merchants: NDArray[np.int32]

    @classmethod
    def of(cls, before: ItemTable, rows: pa.Table) -> "CatalogDiff":
        """With the new rows (CATALOG_SCHEMA) in, none of which `before` holds."""
        after = ItemTable.of(pa.concat_tables([catalog_of(before), rows.cast(CATALOG_SCHEMA)]))
        moved = after.items.positions(before.items.ids())
        added = np.setdiff1d(np.arange(len(after), dtype=np.int32), moved)
        return cls(before, after, moved, added, after.merchants.positions(before.merchants.ids()))

    def back(self, positions: NDArray[np.int32]) -> NDArray[np.int32]:
        """The positions of before; new items are left out."""
        place = np.minimum(np.searchsorted(self.moved, positions), len(self.moved) - 1)
        return place[self.moved[place] == positions].astype(np.int32)

    def known(self, country: CountryItems, new: NDArray[np.int32]) -> CountryItems:
        """What a country's model knows now: what it knew, and these new positions."""
        return CountryItems.of(np.union1d(self.moved[country.items], new).astype(np.int32), self.after)


def catalog_of(items: ItemTable) -> pa.Table:
    """The table of CATALOG_SCHEMA that an item table was made from."""
    price = np.asarray(items.price)
    merchants, categories = np.array(items.merchants.ids(), object), np.array(items.categories.ids(), object)
    columns = {
        "item_id": items.items.ids(),
        "merchant_id": merchants[items.merchant],
        "category": categories[items.category],
        "price": pa.array(price, pa.float32(), mask=np.isnan(price)),
        "title": items.titles.all(),
        "image_url": items.image_urls.all(),
        "available": np.asarray(items.available),
    }
    return pa.table(columns, schema=CATALOG_SCHEMA)


def new_rows(items: ItemTable, rows: pa.Table, file: Path) -> pa.Table:
    """The rows (CATALOG_SCHEMA) whose items the table lacks. Items it has stay as they are until the next training.

    Raises:
        CandidatesError: an item belongs to another merchant in the table; or no row is new.
    """
    position = items.items.positions(rows["item_id"].to_pylist())
    known = position != UNKNOWN
    here = np.array(items.merchants.ids(), object)[items.merchant[position[known]]]
    said = np.array(rows["merchant_id"].to_pylist(), object)[known]
    if (here != said).any():
        place = int(np.flatnonzero(here != said)[0])
        item = items.items.id(int(position[known][place]))
        raise CandidatesError(
            f"{file}: item {item!r} is of merchant {said[place]!r}, in the bundle of {here[place]!r}; "
            "expected item ids of one merchant each"
        )
    if known.all():
        raise CandidatesError(f"{file}: the bundle has all {len(rows)} items already; expected at least one new item")
    return rows.filter(pc.invert(pa.array(known)))
