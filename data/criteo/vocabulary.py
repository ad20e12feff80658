"""Which row of its embedding table an id gets: row 0 if missing, row 1 if rare in training, else a row of its own."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from data.criteo.layout import CATEGORICAL, MISSING_ROW, RESERVED_ROWS, UNKNOWN_ROW
from data.ids import load_array


@dataclass(frozen=True)
class Vocabulary:
    """The ids of one categorical feature that training saw often enough.

    Attributes:
        ids: uint32 [V], ascending; may be memory-mapped.
        rows: rows of the embedding table, the reserved ones among them.
        hashed: the V ids share rows 2 .. rows - 1 by hash, because they are more than the table was allowed to have.
    """

    ids: NDArray[np.uint32]
    rows: int
    hashed: bool

    @classmethod
    def of(cls, ids: NDArray[np.uint32], max_rows: int | None) -> Self:
        """The k-th smallest id gets row 2 + k, unless that makes more than `max_rows` rows."""
        rows = len(ids) + RESERVED_ROWS
        hashed = max_rows is not None and rows > max_rows
        return cls(ids, max_rows if hashed and max_rows else rows, hashed)

    @classmethod
    def load(cls, folder: Path, feature: int | str, max_rows: int | None) -> Self:
        """Memory-mapped; `feature`: a name, or a number of Criteo's. Raises DataError for a missing or broken file."""
        name = feature if isinstance(feature, str) else CATEGORICAL[feature]
        return cls.of(load_array(folder / f"{name}.ids.npy"), max_rows)

    def rows_of(self, ids: NDArray[np.uint32], missing: NDArray[np.bool_]) -> NDArray[np.int32]:
        """int32 [n]: the row of each id uint32 [n]; `missing` bool [n] says where there is none.

        An id that training did not see often enough gets the row for unknown ids, in a hashed table too: no id lands
        on a row that another one trained, but for the sharing that `max_rows` asks for.
        """
        if not len(self.ids):
            return np.where(missing, MISSING_ROW, UNKNOWN_ROW).astype(np.int32)
        places = np.minimum(np.searchsorted(self.ids, ids), len(self.ids) - 1)
        known = self.ids[places] == ids
        own = scattered(ids) % np.uint32(self.rows - RESERVED_ROWS) if self.hashed else places
        rows = np.where(known, own.astype(np.int32) + np.int32(RESERVED_ROWS), np.int32(UNKNOWN_ROW))
        rows[missing] = MISSING_ROW
        return rows


def scattered(ids: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """A bijection of 32-bit numbers that spreads near ones apart (MurmurHash3's finaliser, by Austin Appleby)."""
    mixed = ids ^ (ids >> np.uint32(16))
    mixed = mixed * np.uint32(0x85EBCA6B)
    mixed ^= mixed >> np.uint32(13)
    mixed = mixed * np.uint32(0xC2B2AE35)
    return mixed ^ (mixed >> np.uint32(16))
