"""What a run trains on: a folder of `tandem data criteo`, or of `tandem data generate`, opened behind one interface.

A source hands out global batches in a fixed order; each process then takes its own rows of them.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from data.criteo.dataset import CriteoBatch, CriteoDataset, CriteoSplit
from data.criteo.layout import CATEGORICAL, DENSE
from data.generators.storage import Generated
from ranker.errors import RankerError
from ranker.features.numbers import BUCKETS, NumberUse, bucket_rows, dense_values
from ranker.features.settings import FeatureSettings, changed_specification
from ranker.features.specification import RESERVED_ROWS, Specification, read_specification
from ranker.yaml_settings import checked

GENERATED_DIMENSION = 64
"""Embedding dimension of a generated folder's network unless the settings say another (the paper's)."""

SCALED_BY = 1 << 18
"""Training rows, the first ones, whose mean and deviation standardise raw numbers."""

_HELD_OUT = 10  # of a generated folder's rows one in so many, the last ones, are held out


class HostRows(NamedTuple):
    """b rows of T features in the layout of torchrec's KeyedJaggedTensor: feature by feature, in each row by row.

    Attributes:
        dense: float32 [b, D]. label: float32 [b], 0 or 1.
        values: int64 [n], table rows. lengths: int32 [T * b] values per bag, or None if every bag has exactly one.
    """

    dense: NDArray[np.float32]
    values: NDArray[np.int64]
    lengths: NDArray[np.int32] | None
    label: NDArray[np.float32]


class GlobalBatch(ABC):
    """The rows of one step, over all processes."""

    rows: int

    @abstractmethod
    def part(self, begin: int, end: int) -> HostRows:
        """Rows begin .. end - 1. Raises RankerError where an id is no row of its table."""


class Source(ABC):
    """A data set with `train`, `validation` and `test` rows.

    Attributes:
        folder: where it lies. specification: the run's features. table_rows: of each table, by name.
    """

    folder: Path
    specification: Specification
    table_rows: dict[str, int]

    def standardisation(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Mean and scale, float32 [D] each, that the network takes its dense features with; by default as they are."""
        count = len(self.specification.dense)
        return np.zeros(count, np.float32), np.ones(count, np.float32)

    @abstractmethod
    def rows(self, split: str) -> int:
        """How many rows `train`, `validation` or `test` has."""

    @abstractmethod
    def batches(self, split: str, size: int, seed: int | None, start: int) -> Iterator[GlobalBatch]:
        """One pass over a split from batch `start` on, shuffled if there is a seed; the last batch may be shorter.

        A pure function of its arguments: every process sees the same batches, and so does a resumed run.
        """


def open_source(folder: Path, changes: FeatureSettings | None = None, dimension: int | None = None) -> Source:
    """A folder's rows, its features changed as a run wants them; `dimension`: of the embeddings, None for the folder's.

    Raises:
        RankerError, DataError: the folder is neither converted nor generated, has no rows to train on, or has no such
            features.
    """
    changes = changes or FeatureSettings()
    if (folder / "manifest.json").exists():
        source: Source = CriteoSource(folder, changes, dimension)
    elif (folder / "generated.json").exists():
        source = GeneratedSource(folder, changes, dimension)
    else:
        raise RankerError(
            f"{folder}: expected a folder that `tandem data criteo` or `tandem data generate` wrote "
            "(manifest.json or generated.json)"
        )
    if not source.rows("train"):
        raise RankerError(f"{folder}: expected at least one row to train on, found none")
    return source


class CriteoSource(Source):
    """Converted Criteo rows: 26 ids, and 13 integers as the specification says, as numbers, buckets or both."""

    def __init__(self, folder: Path, changes: FeatureSettings, dimension: int | None) -> None:
        self.folder = folder
        self._dataset = CriteoDataset.open(folder)
        described = read_specification(folder / "specification.yaml")
        self.specification = changed_specification(described, changes, dimension)
        self._columns = _CriteoColumns.of(self.specification, f"{folder}/specification.yaml")
        rows = dict(zip(CATEGORICAL, self._dataset.table_rows, strict=True))
        self.table_rows = {name: rows.get(name, RESERVED_ROWS + BUCKETS) for name in self.specification.tables}
        self._bounds = np.array([rows[name] for name in CATEGORICAL])

    def standardisation(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Of raw numbers, which may be of any size, by their own mean and deviation; logarithms stay as they are."""
        mean, scale = super().standardisation()
        if "raw" not in self._columns.uses:
            return mean, scale
        first = next(self.batches("train", min(SCALED_BY, self.rows("train")), None, 0))
        dense = first.part(0, first.rows).dense
        raw = np.array([use == "raw" for use in self._columns.uses])
        deviation = dense.std(axis=0, dtype=np.float64)
        mean[raw] = dense.mean(axis=0, dtype=np.float64)[raw]
        scale[raw] = np.where(deviation > 1e-6, 1 / np.maximum(deviation, 1e-6), 0.0)[raw]  # 0: it never varies
        return mean, scale

    def rows(self, split: str) -> int:
        return len(self._split(split))

    def batches(self, split: str, size: int, seed: int | None, start: int) -> Iterator[GlobalBatch]:
        for batch in self._split(split).batches(size, seed, start):
            yield _CriteoRows(batch, self._columns, self._bounds, str(self.folder / split))

    def _split(self, name: str) -> CriteoSplit:
        return self._dataset.split(name)


@dataclass(frozen=True)
class _CriteoColumns:
    """How the features are made of the folder's columns.

    Attributes:
        numbers: columns of the integers that stay numbers; uses: what each of them becomes.
        bucketed: columns of the integers whose buckets are ids.
    """

    numbers: tuple[int, ...]
    uses: tuple[NumberUse, ...]
    bucketed: tuple[int, ...]

    @classmethod
    def of(cls, specification: Specification, where: str) -> "_CriteoColumns":
        """Raises RankerError for features that Criteo's rows do not have."""
        of_buckets = specification.singles[len(CATEGORICAL) :]
        ids = [(one.name, one.table, one.buckets_of) for one in specification.singles[: len(CATEGORICAL)]]
        numbers = [*specification.dense_names, *(one.buckets_of for one in of_buckets)]
        if (
            ids != [(name, name, None) for name in CATEGORICAL]
            or specification.bags
            or not all(name in DENSE for name in numbers)
        ):
            raise RankerError(
                f"{where}: expected numbers of I1 .. I13, then the ids C1 .. C26 in order, each with a table of its "
                "name, then buckets of I1 .. I13"
            )
        return cls(
            numbers=tuple(DENSE.index(name) for name in specification.dense_names),
            uses=tuple("log" if one.log else "raw" for one in specification.dense),
            bucketed=tuple(DENSE.index(one.buckets_of) for one in of_buckets if one.buckets_of is not None),
        )

    @property
    def all_logarithms(self) -> bool:
        return self.numbers == (*range(len(DENSE)),) and "raw" not in self.uses


@dataclass(frozen=True)
class _CriteoRows(GlobalBatch):
    batch: CriteoBatch
    columns: _CriteoColumns
    bounds: NDArray[np.int64]
    where: str

    @property
    def rows(self) -> int:  # type: ignore[override]
        return len(self.batch.label)

    def part(self, begin: int, end: int) -> HostRows:
        chosen, columns = slice(begin, end), self.columns
        ids = self.batch.categorical[chosen].T
        for name, column, bound in zip(CATEGORICAL, ids, self.bounds, strict=True):
            _require_rows(column, int(bound), f"{self.where}, {name}")
        numbers = self.batch.dense[chosen]
        if columns.bucketed:
            ids = np.concatenate([ids, bucket_rows(numbers[:, columns.bucketed]).T])
        if not columns.all_logarithms:
            numbers = numbers[:, columns.numbers]
        dense = dense_values(numbers, columns.uses)
        return HostRows(dense, ids.astype(np.int64, order="C").ravel(), None, self.batch.label[chosen])


class GeneratedSource(Source):
    """Generated rows: dense features as they are, a bag of lookups per table. The last tenth is held out."""

    def __init__(self, folder: Path, changes: FeatureSettings, dimension: int | None) -> None:
        if changes.integers is not None:
            raise RankerError(
                f"{folder}: generated numbers are no integers; expected features without `integers`, which Criteo's "
                "rows have"
            )
        self.folder = folder
        self._generated = Generated.open(folder)
        self.table_rows = dict(self._generated.table_rows)
        names = [*self.table_rows]
        self._dense, self._label = self._generated.array("dense"), self._generated.array("label")
        self._offsets = [self._generated.array(f"{name}.offsets") for name in names]
        self._indices = [self._generated.array(f"{name}.indices") for name in names]
        longest = max(int(np.diff(offsets).max(initial=1)) for offsets in self._offsets)
        features = {
            "name": "generated",
            "dimension": GENERATED_DIMENSION,
            "dense": [{"name": f"dense{k}"} for k in range(self._generated.dense)],
            "bags": [{"name": name, "table": name, "length": longest} for name in names],
            "tables": {name: {} for name in names},
        }
        described = checked(Specification, features, str(folder))
        self.specification = changed_specification(described, changes, dimension)

    def rows(self, split: str) -> int:
        first, last = self._range(split)
        return last - first

    def batches(self, split: str, size: int, seed: int | None, start: int) -> Iterator[GlobalBatch]:
        """Rows are independent draws, so a seed shuffles whole batches only."""
        first, last = self._range(split)
        count = -(-(last - first) // size)
        full = (last - first) // size
        order = np.arange(count)
        if seed is not None:
            order[:full] = np.random.default_rng(seed).permutation(full)
        for number in order[start:]:
            begin = first + int(number) * size
            yield _GeneratedRows(self, begin, min(begin + size, last))

    def _range(self, split: str) -> tuple[int, int]:
        rows = self._generated.rows
        middle = rows - rows // _HELD_OUT
        return {"train": (0, middle), "validation": (middle, rows), "test": (rows, rows)}[split]

    def take(self, begin: int, end: int) -> HostRows:
        """Rows begin .. end - 1 of the whole folder."""
        values, lengths = [], []
        for (name, bound), offsets, indices in zip(self.table_rows.items(), self._offsets, self._indices, strict=True):
            own = indices[offsets[begin] : offsets[end]]
            _require_rows(own, bound, f"{self.folder}, {name}")
            values.append(own.astype(np.int64))
            lengths.append(np.diff(offsets[begin : end + 1]).astype(np.int32))
        dense, label = np.array(self._dense[begin:end]), self._label[begin:end].astype(np.float32)
        return HostRows(dense, np.concatenate(values), np.concatenate(lengths), label)


@dataclass(frozen=True)
class _GeneratedRows(GlobalBatch):
    source: GeneratedSource
    begin: int
    end: int

    @property
    def rows(self) -> int:  # type: ignore[override]
        return self.end - self.begin

    def part(self, begin: int, end: int) -> HostRows:
        return self.source.take(self.begin + begin, self.begin + end)


def _require_rows(ids: NDArray[np.int32], bound: int, where: str) -> None:
    """fbgemm's fused kernels would take an id out of range for row 0, and say so on standard error only."""
    if len(ids) and (int(ids.max()) >= bound or int(ids.min()) < 0):
        wrong = ids[(ids >= bound) | (ids < 0)][0]
        raise RankerError(f"{where}: id {wrong} is no row of its table; expected 0 to {bound - 1}")
