"""A catalog that changes: positions move where new items come in, since every merchant's items stay one contiguous
slice; no item goes, for one that is retired still describes its users."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from candidates.encoder import CountryItems
from candidates.errors import CandidatesError
from data.items import ItemTable
from data.schema import CATALOG_SCHEMA
from data.tables import merged_catalog


@dataclass(frozen=True)
class CatalogDiff:
    """The catalog before (I items, M merchants) and after.

    Attributes:
        moved: int32 [I], where each position of before stands now, ascending.
        added: int32 [A], positions of the new items, ascending.
        merchants: int32 [M], where each merchant stands now, ascending.
        retired, returned: int32, positions of after that were available before and are not now; and the reverse.
    """

    before: ItemTable
    after: ItemTable
    moved: NDArray[np.int32]
    added: NDArray[np.int32]
    merchants: NDArray[np.int32]
    retired: NDArray[np.int32]
    returned: NDArray[np.int32]

    @classmethod
    def of(cls, before: ItemTable, rows: pa.Table) -> "CatalogDiff":
        """With these rows (CATALOG_SCHEMA) in: of new items, and of known ones in the place of what was known.

        Raises:
            CandidatesError: a known item under another merchant.
        """
        after = ItemTable.of(merged_catalog(catalog_of(before), rows))
        moved = after.items.positions(before.items.ids())
        merchants = after.merchants.positions(before.merchants.ids())
        if not np.array_equal(np.asarray(after.merchant)[moved], merchants[np.asarray(before.merchant)]):
            raise CandidatesError(
                "items of the catalog belong to other merchants than in the bundle in service; expected `tandem "
                "train`, which learns them anew"
            )
        added = np.setdiff1d(np.arange(len(after), dtype=np.int32), moved)
        was, now = np.asarray(before.available), np.asarray(after.available)[moved]
        return cls(before, after, moved, added, merchants, moved[was & ~now], moved[~was & now])

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
