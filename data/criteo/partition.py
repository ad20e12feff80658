"""Which row goes to which split: pure functions of a row's number, the same whatever the number of workers."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from data.criteo.layout import SPLITS, TEST, TRAIN, VALIDATION
from data.errors import DataError

Ranges = tuple[tuple[int, int], tuple[int, int], tuple[int, int]]

_FOLDS = 10


@dataclass(frozen=True)
class Partition:
    """`rows` rows over train, validation and test: either three ranges of rows, or a draw by `seed`."""

    rows: int
    ranges: Ranges | None
    seed: int = 0

    @classmethod
    def day7(cls, rows: int) -> Self:
        """As DLRM's own code: seven chunks as equal as can be (the first ones longer by a row), the last one halved,
        its first half (longer by a row if odd) for test and its second for validation."""
        return cls._last_halved(rows, rows - rows // 7)

    @classmethod
    def last_file(cls, rows_of_files: list[int]) -> Self:
        """As DLRM's own code for Terabyte's 24 days: the last file halved like `day7`'s last chunk, the others
        train.
        """
        return cls._last_halved(sum(rows_of_files), sum(rows_of_files[:-1]))

    @classmethod
    def _last_halved(cls, rows: int, begin: int) -> Self:
        middle = begin + (rows - begin + 1) // 2
        return cls(rows, ((0, begin), (middle, rows), (begin, middle)))

    @classmethod
    def chronological(cls, rows: int, fractions: tuple[float, float, float]) -> Self:
        """The first rows train, the next validate, the last test; a split whose fraction is 0 stays empty."""
        first = round(rows * fractions[0])
        second = rows if fractions[TEST] == 0 else min(first + round(rows * fractions[1]), rows)
        return cls(rows, ((0, first), (first, second), (second, rows)))

    @classmethod
    def random(cls, rows: int, seed: int) -> Self:
        """8 : 1 : 1. Of every ten rows in succession one, drawn, validates and another tests: the shares are exact and
        hold at every time of the log."""
        return cls(rows, None, seed)

    def codes(self, first: int, count: int) -> NDArray[np.uint8]:
        """uint8 [count]: the splits (positions in SPLITS) of rows first .. first + count - 1."""
        if self.ranges is not None:
            codes = np.empty(count, np.uint8)
            for split, (begin, end) in enumerate(self.ranges):
                codes[max(begin - first, 0) : max(end - first, 0)] = split
            return codes
        tens = np.arange(first // _FOLDS, -(-(first + count) // _FOLDS))
        drawn = np.random.Philox(key=self.seed).advance(first // _FOLDS // 4)  # a Philox step yields four numbers
        skip = first // _FOLDS % 4
        numbers = drawn.random_raw(skip + len(tens))[skip:]
        validates = (numbers % np.uint64(_FOLDS)).astype(np.int64)
        tests = (validates + 1 + (numbers // np.uint64(_FOLDS) % np.uint64(_FOLDS - 1)).astype(np.int64)) % _FOLDS
        codes = np.full((len(tens), _FOLDS), TRAIN, np.uint8)
        codes[np.arange(len(tens)), validates] = VALIDATION
        codes[np.arange(len(tens)), tests] = TEST
        skip = first % _FOLDS
        return codes.ravel()[skip : skip + count]

    def before(self, row: int) -> NDArray[np.int64]:
        """int64 [3]: how many of the rows 0 .. row - 1 are in each split; `before(rows)` is the splits' sizes."""
        if self.ranges is not None:
            return np.array([min(max(row, begin), end) - begin for begin, end in self.ranges], np.int64)
        tens = row // _FOLDS
        rest = self.codes(tens * _FOLDS, row % _FOLDS)
        return np.array([8, 1, 1], np.int64) * tens + np.bincount(rest, minlength=len(SPLITS))

    def check(self, may_be_empty: tuple[int, ...] = ()) -> None:
        """Raises DataError if a split holds no row though it was not asked to be empty."""
        for split, size in enumerate(self.before(self.rows).tolist()):
            if not size and split not in may_be_empty:
                raise DataError(
                    f"{self.rows} rows leave none for the {SPLITS[split]} split; expected more rows or another --split"
                )
