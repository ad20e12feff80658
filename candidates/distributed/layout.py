"""Where a row of a distributed matrix lies: rows are dealt to bands like cards, and a band is cut into tiles."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from candidates.errors import CandidatesError


@dataclass(frozen=True)
class Layout:
    """Row r lies in band r mod `bands`, at place r // `bands`; tile t of a band has places t * tile_rows and on.

    Dealing rows in turn gives every band its share of the long rows, wherever in the matrix they stand together.
    """

    rows: int
    bands: int
    tile_rows: int

    @classmethod
    def of(cls, rows: int, bands: int, tile_rows: int = 4096) -> Self:
        """At most as many bands as rows, so that none is empty.

        Raises:
            CandidatesError: no row, band, or row of a tile.
        """
        if min(rows, bands, tile_rows) < 1:
            raise CandidatesError(
                f"a distributed matrix needs rows, bands and rows per tile of at least 1, "
                f"found {rows}, {bands} and {tile_rows}"
            )
        return cls(rows, min(bands, rows), tile_rows)

    def height(self, band: int) -> int:
        """How many rows the band has."""
        return (self.rows - band + self.bands - 1) // self.bands

    def tiles(self, band: int) -> int:
        return -(-self.height(band) // self.tile_rows)

    def places(self, tile: int, band: int) -> tuple[int, int]:
        """(first, end) of a tile's places in its band."""
        first = tile * self.tile_rows
        return first, min(first + self.tile_rows, self.height(band))

    def number(self, band: int, tile: int) -> int:
        """A tile's number in the whole matrix; some numbers below the greatest may name no tile."""
        return tile * self.bands + band

    @property
    def numbers(self) -> int:
        """More than the greatest tile's number."""
        return self.tiles(0) * self.bands

    def band_and_tile(self, number: int) -> tuple[int, int]:
        return number % self.bands, number // self.bands

    def rows_of_band(self, band: int) -> NDArray[np.int64]:
        """int64 [height]: the matrix's rows that lie in the band, ascending."""
        return np.arange(band, self.rows, self.bands, dtype=np.int64)

    def rows_of_tile(self, number: int) -> NDArray[np.int64]:
        """int64: the matrix's rows that lie in the tile, ascending."""
        band, tile = self.band_and_tile(number)
        first, end = self.places(tile, band)
        return band + self.bands * np.arange(first, end, dtype=np.int64)
