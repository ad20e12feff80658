"""Embedding tables in 8 bits: every row has a scale and a bias of its own, and one byte per entry.

Asymmetric uniform quantisation by row, the scheme of fbgemm's quantised tables (described by Guan et al.,
"Post-Training 4-bit Quantization on Embedding Tables", arXiv 1911.02079). A row x is stored as

    scale = (max x - min x) / 255,   bias = min x,   q = round((x - bias) / scale)   in 0 .. 255,

and read as q * scale + bias. An entry is off by at most scale / 2 = (max x - min x) / 510, and float32's rounding. A
row of equal entries is exact: its scale is 0.

On disk: <name>.int8.npy, uint8 [rows, d], and <name>.scales.npy, float32 [rows, 2], scale and bias. Both are plain
arrays that processes map into memory and share.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from data.errors import DataError
from data.ids import load_array
from ranker.errors import RankerError

TableType = Literal["float32", "int8"]

_LEVELS = 255
_ROWS = 65_536
"""Rows that are worked on at once: bounds the memory beside the table."""


@dataclass(frozen=True)
class QuantisedTable:
    """values: uint8 [rows, d]. scales: float32 [rows, 2], scale and bias of each row."""

    values: NDArray[np.uint8]
    scales: NDArray[np.float32]

    def dequantised(self) -> NDArray[np.float32]:
        """float32 [rows, d], exactly what the serving graph computes with."""
        return self.values * self.scales[:, :1] + self.scales[:, 1:]


def quantise(table: NDArray[np.float32], name: str = "the table") -> QuantisedTable:
    """Quantise a table float32 [rows, d] row by row.

    Raises:
        RankerError: an entry is not a finite number, or a row's entries are further apart than a float32 can say.
    """
    values = np.empty(table.shape, np.uint8)
    scales = np.empty((len(table), 2), np.float32)
    for start in range(0, len(table), _ROWS):
        part = np.asarray(table[start : start + _ROWS], np.float64)
        lowest = part.min(axis=1)
        with np.errstate(invalid="ignore"):
            spread = part.max(axis=1) - lowest
        if not (usable := spread < np.finfo(np.float32).max).all():
            raise RankerError(
                f"{name}: row {start + int(np.argmin(usable))} has entries between {lowest[np.argmin(usable)]:g} and "
                f"{part[np.argmin(usable)].max():g}; expected finite embeddings"
            )
        scale = (spread / _LEVELS).astype(np.float32)
        # Steps are counted with the scale that is stored, not with the exact one: reading multiplies by the former.
        steps = (part - lowest[:, None]) / np.where(scale > 0, scale, 1)[:, None]
        values[start : start + _ROWS] = np.clip(np.rint(steps), 0, _LEVELS)
        scales[start : start + _ROWS] = np.stack([scale, lowest], axis=1)
    return QuantisedTable(values, scales)


def save_table(folder: Path, name: str, table: NDArray[np.float32], kind: TableType) -> None:
    """Write a table float32 [rows, d] into `folder` in one of the forms that `load_table` and `mapped_table` read."""
    if kind == "float32":
        np.save(folder / f"{name}.npy", table)
        return
    quantised = quantise(table, f"table {name}")
    np.save(folder / f"{name}.int8.npy", quantised.values)
    np.save(folder / f"{name}.scales.npy", quantised.scales)


def table_type(folder: Path, name: str) -> TableType:
    """The form in which a table lies in `folder`: float32 where nothing else is found."""
    return "int8" if (folder / f"{name}.int8.npy").is_file() else "float32"


def load_table(folder: Path, name: str) -> NDArray[np.float32]:
    """A table in memory, float32 [rows, d], dequantised if it lies in 8 bits.

    Raises:
        DataError, OSError, ValueError: no such table, or a damaged one.
    """
    if table_type(folder, name) == "float32":
        return np.array(load_array(folder / f"{name}.npy"))
    found = QuantisedTable(
        np.asarray(load_array(folder / f"{name}.int8.npy")), np.asarray(load_array(folder / f"{name}.scales.npy"))
    )
    if found.values.dtype != np.uint8 or found.scales.shape != (len(found.values), 2):
        raise DataError(
            f"{folder / name}.int8.npy: expected uint8 entries and a scale and a bias for each row, found "
            f"{found.values.dtype} {found.values.shape} and {found.scales.shape}"
        )
    return found.dequantised()


def mapped_table(folder: Path, name: str, kind: TableType, shape: tuple[int, int]) -> list[NDArray[Any]]:
    """A table as the serving graph reads it, mapped into memory: pages are shared until someone writes; nobody does.

    Returns:
        The entries float32 `shape`; or uint8 `shape`, and the scales float32 [rows, 2].

    Raises:
        RankerError: a file is missing, or holds something else.
    """
    if kind == "float32":
        return [_mapped(folder / f"{name}.npy", np.float32, shape)]
    scales = _mapped(folder / f"{name}.scales.npy", np.float32, (shape[0], 2))
    return [_mapped(folder / f"{name}.int8.npy", np.uint8, shape), scales]


def _mapped(path: Path, kind: type, shape: tuple[int, int]) -> NDArray[Any]:
    try:
        table = np.load(path, mmap_mode="c", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise RankerError(f"{path}: expected an embedding table in npy format, found {error}") from error
    if table.shape != shape or table.dtype != kind:
        raise RankerError(f"{path}: expected {np.dtype(kind)} {shape}, found {table.dtype} {table.shape}")
    return table
