"""Rows of a folder of `tandem data criteo` as a source of training."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data.criteo.dataset import CriteoBatch, CriteoDataset, CriteoSplit
from data.criteo.layout import CATEGORICAL, DENSE
from ranker.errors import RankerError
from ranker.features.numbers import BUCKETS, NumberUse, bucket_rows, dense_values
from ranker.features.settings import FeatureSettings, changed_specification
from ranker.features.specification import RESERVED_ROWS, Specification, read_specification
from ranker.training.source import GlobalBatch, HostRows, Source, Split, Standardisation, require_table_rows

SCALED_BY = 1 << 18
"""Training rows, the first ones, whose mean and deviation standardise raw numbers."""


class CriteoSource(Source):
    """Converted rows of a click log: ids, and numbers as the specification says, as they are, in buckets or both.

    The names are the manifest's: I1 .. I13 and C1 .. C26 of Criteo's logs, its own of another log.
    """

    def __init__(self, folder: Path, changes: FeatureSettings, dimension: int | None) -> None:
        self._folder = folder
        self.manifest, self.companions = folder / "manifest.json", (folder / "vocabulary",)
        self._dataset = CriteoDataset.open(folder)
        described = read_specification(folder / "specification.yaml")
        self.specification = changed_specification(described, changes, dimension)
        manifest = self._dataset.manifest
        self._ids = tuple(one.name for one in manifest.categorical)
        where = f"{folder}/specification.yaml"
        self._columns = CriteoColumns.of(self.specification, where, manifest.dense, self._ids)
        rows = dict(zip(self._ids, self._dataset.table_rows, strict=True))
        self.table_rows = {name: rows.get(name, RESERVED_ROWS + BUCKETS) for name in self.specification.tables}
        self._bounds = {name: rows[name] for name in self._ids}

    def standardisation(self) -> Standardisation:
        """Of raw numbers, which may be of any size, by their own mean and deviation; logarithms stay as they are."""
        as_they_are = super().standardisation()
        if "raw" not in self._columns.uses:
            return as_they_are
        first = next(self.batches("train", min(SCALED_BY, self.rows("train")), None, 0))
        own, raw = Standardisation.of(first.part(0, first.rows).dense), [use == "raw" for use in self._columns.uses]
        return Standardisation(
            np.where(raw, own.mean, as_they_are.mean), np.where(raw, own.deviation, as_they_are.deviation)
        )

    def rows(self, split: Split) -> int:
        return len(self._split(split))

    def batches(self, split: Split, size: int, seed: int | None, start: int) -> Iterator[GlobalBatch]:
        for batch in self._split(split).batches(size, seed, start):
            yield _CriteoRows(batch, self._columns, self._bounds, str(self._folder / split))

    def _split(self, name: Split) -> CriteoSplit:
        return self._dataset.split(name)


@dataclass(frozen=True)
class CriteoColumns:
    """How the features are made of the folder's columns.

    Attributes:
        numbers: columns of the numbers that stay numbers; uses: what each of them becomes.
        bucketed: columns of the numbers whose buckets are ids.
        count: how many numbers a row has.
    """

    numbers: tuple[int, ...]
    uses: tuple[NumberUse, ...]
    bucketed: tuple[int, ...]
    count: int

    @classmethod
    def of(
        cls,
        specification: Specification,
        where: str,
        numbers: Sequence[str] = DENSE,
        ids: Sequence[str] = CATEGORICAL,
    ) -> "CriteoColumns":
        """Of rows with these numbers and ids. Raises RankerError for features that they do not have."""
        of_buckets = specification.singles[len(ids) :]
        found = [(one.name, one.table, one.buckets_of) for one in specification.singles[: len(ids)]]
        used = [*specification.dense_names, *(one.buckets_of for one in of_buckets)]
        if (
            found != [(name, name, None) for name in ids]
            or specification.bags
            or not all(name in numbers for name in used)
        ):
            raise RankerError(
                f"{where}: expected numbers of {numbers[0]} .. {numbers[-1]}, then the ids {ids[0]} .. {ids[-1]} in "
                f"order, each with a table of its name, then buckets of {numbers[0]} .. {numbers[-1]}"
            )
        place = {name: column for column, name in enumerate(numbers)}
        return cls(
            numbers=tuple(place[name] for name in specification.dense_names),
            uses=tuple("log" if one.log else "raw" for one in specification.dense),
            bucketed=tuple(place[one.buckets_of] for one in of_buckets if one.buckets_of is not None),
            count=len(numbers),
        )

    @property
    def all_logarithms(self) -> bool:
        """Whether the dense features are the logarithms of all numbers in order."""
        return self.numbers == (*range(self.count),) and "raw" not in self.uses

    def features(
        self, numbers: NDArray[np.float32], ids: NDArray[np.int32]
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """The features of n rows: dense float32 [n, D], table rows int64 [T, n].

        `numbers`: float32 [n, numbers], NaN where missing. `ids`: int32 [ids, n], table rows.
        """
        if self.bucketed:
            ids = np.concatenate([ids, bucket_rows(numbers[:, self.bucketed]).T])
        if not self.all_logarithms:
            numbers = numbers[:, self.numbers]
        return dense_values(numbers, self.uses), ids.astype(np.int64, order="C")


@dataclass(frozen=True)
class _CriteoRows(GlobalBatch):
    batch: CriteoBatch
    columns: CriteoColumns
    bounds: dict[str, int]
    where: str

    @property
    def rows(self) -> int:  # type: ignore[override]
        return len(self.batch.label)

    def part(self, begin: int, end: int) -> HostRows:
        chosen, columns = slice(begin, end), self.columns
        ids = self.batch.categorical[chosen].T
        for (name, bound), column in zip(self.bounds.items(), ids, strict=True):
            require_table_rows(column, bound, f"{self.where}, {name}")
        dense, rows = columns.features(self.batch.dense[chosen], ids)
        return HostRows(dense, rows.ravel(), None, self.batch.label[chosen])
