"""Which items a country's model knows, and a request's history as their vectors: what CBO and LED share."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from candidates.errors import CandidatesError
from data.ids import load_array
from data.items import ItemTable

_FEW = 128
_NO_ROWS = np.empty(0, np.int32)


@dataclass(frozen=True)
class CountryItems:
    """The items one country's model knows.

    Attributes:
        items: int32 [R], item positions, ascending.
        rows: int32 [I], the row of each item position, -1 where the model does not know the item.
        merchant_rows: int64 [M + 1]; merchant m owns the rows merchant_rows[m] .. merchant_rows[m + 1] - 1.
    """

    items: NDArray[np.int32]
    rows: NDArray[np.int32]
    merchant_rows: NDArray[np.int64]

    @classmethod
    def of(cls, known: NDArray[np.int32], items: ItemTable) -> "CountryItems":
        rows = np.full(len(items), -1, np.int32)
        rows[known] = np.arange(len(known))
        return cls(known, rows, np.searchsorted(known, items.merchant_offsets).astype(np.int64))

    def rows_of(self, positions: NDArray[np.int32]) -> NDArray[np.int32]:
        """int32, ascending: the distinct rows of item positions; unknown items are left out."""
        if len(positions) <= _FEW:  # a set costs a third of np.unique
            return np.array(sorted({*self.rows[positions].tolist()} - {-1}), np.int32) if len(positions) else _NO_ROWS
        rows = np.unique(self.rows[positions])
        return rows[1:] if len(rows) and rows[0] < 0 else rows

    def slice_of(self, merchant: int) -> tuple[int, int]:
        """(first row, end row) of a merchant; (0, 0) for a merchant outside the bundle."""
        if not 0 <= merchant < len(self.merchant_rows) - 1:
            return 0, 0
        return int(self.merchant_rows[merchant]), int(self.merchant_rows[merchant + 1])

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("items", "rows", "merchant_rows"):
            np.save(folder / f"{name}.npy", getattr(self, name))

    @classmethod
    def load(cls, folder: Path) -> "CountryItems":
        return cls(*(load_array(folder / f"{name}.npy") for name in ("items", "rows", "merchant_rows")))


def user_vector(
    vectors: NDArray[np.float32],
    rows: NDArray[np.int32],
    length_power: float = 1.0,
    scales: NDArray[np.float32] | None = None,
) -> NDArray[np.float32]:
    """float32 [d]: sum of the rows' vectors, each times its scale (None: 1), / T ** length_power; zero without rows
    (LED paper, section 4.2)."""
    if not len(rows):
        return np.zeros(vectors.shape[1], np.float32)
    taken = vectors.take(rows, axis=0)
    total = np.add.reduce(taken, axis=0) if scales is None else scales[rows] @ taken
    return total / np.float32(len(rows) ** length_power)


def read_json(path: Path) -> Any:
    """Raises CandidatesError where the file is missing or is not JSON."""
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise CandidatesError(f"{path}: expected JSON written by training, found {error}") from None


def read_countries(folder: Path) -> list[str]:
    """The countries that have a model in this source's folder, the largest first; country n lies in the folder "n"."""
    return [str(country) for country in read_json(folder / "countries.json")]


def write_countries(folder: Path, countries: list[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "countries.json").write_text(json.dumps(countries) + "\n")
