"""The catalog as arrays: what a bundle knows of every item, by position. Each merchant has one contiguous slice."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from data.categories import one_spelling
from data.ids import IdMap, StringTable, load_array


@dataclass(frozen=True)
class ItemTable:
    """I items of M merchants in C categories, ordered by (merchant, item_id).

    Attributes:
        items, merchants, categories: ids <-> positions.
        merchant_offsets: int64 [M + 1]; merchant m owns the items merchant_offsets[m] .. merchant_offsets[m + 1] - 1.
        merchant, category: int32 [I].
        price: float32 [I], NaN where unknown.
        available: bool [I]; an item that is not is never proposed.
        titles, image_urls: strings by item position.
    """

    items: IdMap
    merchants: IdMap
    categories: IdMap
    merchant_offsets: NDArray[np.int64]
    merchant: NDArray[np.int32]
    category: NDArray[np.int32]
    price: NDArray[np.float32]
    available: NDArray[np.bool_]
    titles: StringTable
    image_urls: StringTable

    def __len__(self) -> int:
        return len(self.items)

    def slice_of(self, merchant: int) -> slice:
        """The positions of a merchant's items."""
        return slice(int(self.merchant_offsets[merchant]), int(self.merchant_offsets[merchant + 1]))

    @classmethod
    def of(cls, catalog: pa.Table) -> "ItemTable":
        """From a table of CATALOG_SCHEMA. Spellings of one category path become one category (`data.categories`)."""
        catalog = catalog.sort_by([("merchant_id", "ascending"), ("item_id", "ascending")])
        merchant, merchants = _codes(catalog["merchant_id"])
        category, categories = _codes(one_spelling(catalog["category"]))
        offsets = np.zeros(len(merchants) + 1, np.int64)
        np.cumsum(np.bincount(merchant, minlength=len(merchants)), out=offsets[1:])
        return cls(
            items=IdMap.of(catalog["item_id"].to_pylist()),
            merchants=IdMap.of(merchants),
            categories=IdMap.of(categories),
            merchant_offsets=offsets,
            merchant=merchant,
            category=category,
            price=pc.fill_null(catalog["price"], float("nan")).to_numpy().astype(np.float32),
            available=catalog["available"].to_numpy(),
            titles=StringTable.of(catalog["title"].to_pylist()),
            image_urls=StringTable.of(catalog["image_url"].to_pylist()),
        )

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("items", "merchants", "categories", "titles", "image_urls"):
            getattr(self, name).save(folder, name)
        for name in ("merchant_offsets", "merchant", "category", "price", "available"):
            np.save(folder / f"{name}.npy", getattr(self, name))

    @classmethod
    def load(cls, folder: Path) -> "ItemTable":
        """Memory-mapped from a bundle's `catalog` folder. Raises DataError where a file is missing or broken."""
        return cls(
            items=IdMap.load(folder, "items"),
            merchants=IdMap.load(folder, "merchants"),
            categories=IdMap.load(folder, "categories"),
            merchant_offsets=load_array(folder / "merchant_offsets.npy"),
            merchant=load_array(folder / "merchant.npy"),
            category=load_array(folder / "category.npy"),
            price=load_array(folder / "price.npy"),
            available=load_array(folder / "available.npy"),
            titles=StringTable.load(folder, "titles"),
            image_urls=StringTable.load(folder, "image_urls"),
        )


def _codes(column: pa.ChunkedArray) -> tuple[NDArray[np.int32], list[str]]:
    """The column as int32 codes into its sorted distinct values."""
    values = sorted(set(column.to_pylist()))
    code_of = {value: code for code, value in enumerate(values)}
    return np.array([code_of[value] for value in column.to_pylist()], np.int32), values
