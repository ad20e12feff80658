"""Reads a converted folder: memory-mapped splits, batch by batch."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from data.criteo.layout import SPLITS, arrays_of
from data.criteo.manifest import Manifest
from data.criteo.vocabulary import Vocabulary
from data.errors import DataError
from data.files import sha256_of
from data.ids import load_array

SHUFFLED_TOGETHER = 1 << 18
"""Rows read and shuffled in memory at a time, about 40 MB."""


class CriteoBatch(NamedTuple):
    """B rows.

    Attributes:
        dense: float32 [B, 13], the integers as they were, NaN where missing.
        categorical: int32 [B, 26], rows of the embedding tables.
        label: float32 [B], 0 or 1.
    """

    dense: NDArray[np.float32]
    categorical: NDArray[np.int32]
    label: NDArray[np.float32]


@dataclass(frozen=True)
class CriteoSplit:
    """n rows in the order of the log. The arrays are memory-mapped and read-only.

    Attributes:
        dense: float32 [n, 13].
        categorical: int32 [n, 26].
        label: uint8 [n].
    """

    dense: NDArray[np.float32]
    categorical: NDArray[np.int32]
    label: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.label)

    def batches(self, size: int, seed: int | None = None, start: int = 0) -> Iterator[CriteoBatch]:
        """Batches of `size` rows, from batch `start` on; the last one of the split may be shorter.

        Without `seed` in the log's order, views of the mapped files. With one, shuffled without random access to the
        disk: stretches of `size` rows are read in random order, and the rows of as many stretches as make
        SHUFFLED_TOGETHER are shuffled with each other. The same seed gives the same batches, so training can go on at
        batch `start`.
        """
        if size < 1:
            raise DataError(f"batch size {size}: expected at least 1")
        full, rest = divmod(len(self), size)
        if seed is None:
            for batch in range(start, full + (rest > 0)):
                yield self._rows(slice(batch * size, (batch + 1) * size))
            return
        order = np.random.default_rng(seed).permutation(full)
        together = max(SHUFFLED_TOGETHER // size, 1)
        for group in range(start // together, -(-full // together)):
            stretches = np.sort(order[group * together : (group + 1) * together])
            rows = (stretches[:, None] * size + np.arange(size)).ravel()
            held = self._rows(rows)
            shuffled = np.random.default_rng([seed, group]).permutation(len(rows)).reshape(-1, size)
            for chosen in shuffled[max(start - group * together, 0) :]:
                yield CriteoBatch(held.dense[chosen], held.categorical[chosen], held.label[chosen])
        if rest and start <= full:
            yield self._rows(slice(full * size, len(self)))

    def _rows(self, rows: slice | NDArray[np.int64]) -> CriteoBatch:
        return CriteoBatch(self.dense[rows], self.categorical[rows], self.label[rows].astype(np.float32))


@dataclass(frozen=True)
class CriteoDataset:
    """A folder that `tandem data criteo` wrote, or `tandem data clicks`: then with columns of other names."""

    folder: Path
    manifest: Manifest

    @classmethod
    def open(cls, folder: Path | str, verify: bool = False) -> Self:
        """Read the manifest; with `verify`, check every file against its SHA-256.

        Raises:
            DataError: no manifest, a broken one, or a file that differs from it.
        """
        folder = Path(folder)
        dataset = cls(folder, Manifest.read(folder))
        for name, expected in dataset.manifest.files.items() if verify else ():
            if not (folder / name).is_file() or sha256_of(folder / name) != expected:
                raise DataError(
                    f"{folder / name} is missing or differs from its SHA-256 in the manifest; convert again"
                )
        return dataset

    @property
    def table_rows(self) -> tuple[int, ...]:
        """The rows of the embedding tables: row 0 for a missing id, row 1 for an unknown one, then the ids."""
        return tuple(feature.rows for feature in self.manifest.categorical)

    def split(self, name: str) -> CriteoSplit:
        """`train`, `validation` or `test`. Raises DataError for another name, or files that do not fit the manifest."""
        if name not in SPLITS:
            raise DataError(f"split {name!r}: expected one of {', '.join(SPLITS)}")
        folder, rows, manifest = self.folder / name, self.manifest.splits[name].rows, self.manifest
        arrays = {}
        for part, (shape, dtype) in arrays_of(rows, len(manifest.dense), len(manifest.categorical)).items():
            arrays[part] = array = load_array(folder / f"{part}.npy")
            if array.shape != shape or array.dtype != dtype:
                raise DataError(
                    f"{folder / part}.npy: expected {np.dtype(dtype)} {shape} as the manifest says, "
                    f"found {array.dtype} {array.shape}"
                )
        return CriteoSplit(**arrays)

    @cached_property
    def vocabularies(self) -> tuple[Vocabulary, ...]:
        """The vocabularies, memory-mapped: they turn new ids into rows as the conversion did."""
        most = self.manifest.options.max_rows
        return tuple(Vocabulary.load(self.folder / "vocabulary", name, most) for name in self.manifest.id_names)


def log_transformed(dense: NDArray[np.float32]) -> NDArray[np.float32]:
    """log(1 + x) of the integers, where missing and negative ones count as 0 (DLRM paper, section 4.3)."""
    return np.log1p(np.maximum(np.nan_to_num(dense, nan=0.0), 0.0))
