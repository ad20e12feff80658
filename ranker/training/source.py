"""What a training reads: rows behind one interface, in global batches of which each process takes its own share."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ranker.errors import RankerError
from ranker.features.specification import Specification

Split = Literal["train", "validation", "test"]


class HostRows(NamedTuple):
    """b rows of T features in the layout of torchrec's KeyedJaggedTensor: feature by feature, in each row by row.

    Attributes:
        dense: float32 [b, D]. label: float32 [b], 0 or 1; of several heads [heads, b], NaN where not known.
        values: int64 [n], table rows. lengths: int32 [T * b] values per bag, or None if every bag has exactly one.
        position: int64 [b], rows of the position bias; None where no position is known.
        weights: float32 [n], what to multiply the embedding of each value with; None where tables pool by themselves.
    """

    dense: NDArray[np.float32]
    values: NDArray[np.int64]
    lengths: NDArray[np.int32] | None
    label: NDArray[np.float32]
    position: NDArray[np.int64] | None = None
    weights: NDArray[np.float32] | None = None


class GlobalBatch(ABC):
    """The rows of one step, over all processes."""

    rows: int

    @abstractmethod
    def part(self, begin: int, end: int) -> HostRows:
        """Rows begin .. end - 1. Raises RankerError where an id is no row of its table."""


@dataclass(frozen=True)
class Standardisation:
    """Mean and deviation, float32 [D] each, with which the network takes its dense features; 0 for one not to vary."""

    mean: NDArray[np.float32]
    deviation: NDArray[np.float32]

    @classmethod
    def of(cls, dense: NDArray[np.float32]) -> "Standardisation":
        """Of rows float32 [n, D]."""
        mean = dense.mean(axis=0, dtype=np.float64).astype(np.float32)
        deviation = dense.std(axis=0, dtype=np.float64).astype(np.float32)
        return cls(mean, np.where(deviation > _CONSTANT, deviation, 0))

    @classmethod
    def none(cls, features: int) -> "Standardisation":
        """Dense features as they are."""
        return cls(np.zeros(features, np.float32), np.ones(features, np.float32))


_CONSTANT = np.float32(1e-6)
"""A feature that deviates by no more does not vary."""


class Source(ABC):
    """A data set with `train`, `validation` and `test` rows.

    Attributes:
        specification: the run's features. table_rows: of each table, by name.
        manifest: the file that names what the rows are; None of rows in memory.
        companions: files and folders beside it without which a trained network is of no use.
        heads: for how many there are labels.
    """

    specification: Specification
    table_rows: dict[str, int]
    manifest: Path | None = None
    companions: tuple[Path, ...] = ()
    heads: int = 1

    def standardisation(self) -> Standardisation:
        """By default dense features are taken as they are."""
        return Standardisation.none(len(self.specification.dense))

    @abstractmethod
    def rows(self, split: Split) -> int:
        """How many rows a split has."""

    @abstractmethod
    def batches(self, split: Split, size: int, seed: int | None, start: int) -> Iterator[GlobalBatch]:
        """One pass over a split from batch `start` on, shuffled if there is a seed; the last batch may be shorter.

        A pure function of its arguments: every process sees the same batches, and so does a resumed run.
        """


def require_table_rows(ids: NDArray[np.int32], bound: int, where: str, least: int = 0) -> None:
    """Check that every id is a row of a table of `bound` rows, or `least`.

    fbgemm's fused kernels would take another for row 0, and say so on standard error only.

    Raises:
        RankerError: an id that is none.
    """
    if len(ids) and (int(ids.max()) >= bound or int(ids.min()) < least):
        wrong = ids[(ids >= bound) | (ids < least)][0]
        raise RankerError(f"{where}: id {wrong} is no row of its table; expected 0 to {bound - 1}")
