"""Random inputs of a ranker (paper, section 4.1): dense features, and bags of lookups into tables of any size."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from data.errors import DataError

Distribution = Literal["uniform", "normal"]

_SPREAD = 6.0  # a normal draw of rows has its mean in the middle of the table and a sixth of it as standard deviation
_SCORES = 1 << 22  # held in memory at a time


@dataclass(frozen=True)
class RandomConfig:
    """What to draw.

    Attributes:
        table_rows: rows of each embedding table.
        dense: number of dense features.
        lookups: distinct rows looked up per bag, or the most of them.
        fixed: every bag has `lookups`; otherwise 1 to `lookups`, each number as likely.
        dense_distribution: uniform on [0, 1) or standard normal, as numpy.random's rand and randn.
        row_distribution: which rows are looked up: each as likely, or normal about the middle of the table.

    Raises:
        DataError: a number is out of its range.
    """

    table_rows: tuple[int, ...]
    dense: int = 13
    lookups: int = 1
    fixed: bool = True
    dense_distribution: Distribution = "uniform"
    row_distribution: Distribution = "uniform"
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.table_rows, default=0) < 1 or max(self.table_rows, default=0) >= 2**31:
            raise DataError(f"table rows {self.table_rows}: expected at least one table, each of 1 to 2^31 - 1 rows")
        if not 1 <= self.lookups <= min(self.table_rows):
            least = min(self.table_rows)
            raise DataError(
                f"{self.lookups} lookups: expected 1 to {least}, the rows of the smallest table, for bags are sets"
            )
        if self.dense < 0 or self.seed < 0:
            raise DataError(f"{self.dense} dense features, seed {self.seed}: expected at least 0 of both")


class RandomBatch(NamedTuple):
    """B rows over T tables, laid out as torchrec's KeyedJaggedTensor: table by table, in each table row by row.

    Attributes:
        dense: float32 [B, dense].
        lengths: int32 [T, B], lookups per bag.
        indices: int32 [lengths.sum()], the rows looked up, ascending in no particular way, distinct within a bag.
        label: float32 [B], 0 or 1, as likely.
    """

    dense: NDArray[np.float32]
    lengths: NDArray[np.int32]
    indices: NDArray[np.int32]
    label: NDArray[np.float32]

    def table(self, table: int) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """One table's indices [N] and the offsets int64 [B + 1] of its bags, as nn.EmbeddingBag takes them."""
        ends = np.concatenate([[0], np.cumsum(self.lengths, dtype=np.int64)])
        bags = self.lengths.shape[1]
        offsets = ends[table * bags : (table + 1) * bags + 1]
        return self.indices[offsets[0] : offsets[-1]], offsets - offsets[0]


def random_batch(config: RandomConfig, size: int, number: int) -> RandomBatch:
    """Batch `number`: a pure function, so that processes can share the work and training can go on anywhere."""
    random = np.random.default_rng([config.seed, number])
    lengths = bag_lengths(config, size, number)
    if config.dense_distribution == "uniform":
        dense = random.random((size, config.dense), np.float32)
    else:
        dense = random.standard_normal((size, config.dense), np.float32)
    bags = [
        distinct_draws(random, lengths[table], rows, config.row_distribution)
        for table, rows in enumerate(config.table_rows)
    ]
    label = random.integers(0, 2, size).astype(np.float32)
    return RandomBatch(dense, lengths, np.concatenate(bags), label)


def bag_lengths(config: RandomConfig, size: int, number: int) -> NDArray[np.int32]:
    """int32 [T, size]: the lengths of batch `number`, alone, for who must know them before the lookups."""
    shape = (len(config.table_rows), size)
    if config.fixed:
        return np.full(shape, config.lookups, np.int32)
    return np.random.default_rng([config.seed, number, 1]).integers(1, config.lookups, shape, np.int32, endpoint=True)


def distinct_draws(
    random: np.random.Generator, lengths: NDArray[np.int32], rows: int, distribution: Distribution
) -> NDArray[np.int32]:
    """int32 [lengths.sum()]: per bag as many distinct rows, one after another without replacement by `distribution`."""
    if 4 * int(lengths.max(initial=0)) > rows:
        return _best_of_all(random, lengths, rows, distribution)
    bag = np.repeat(np.arange(len(lengths)), lengths)
    drawn = _draws(random, len(bag), rows, distribution)
    suspects = np.arange(len(bag))
    while len(suspects):  # draw again what a bag has twice: the same distribution as leaving out what was drawn
        keys = bag[suspects] * rows + drawn[suspects]
        order = np.argsort(keys, kind="stable")
        twice = suspects[order[1:][keys[order[1:]] == keys[order[:-1]]]]
        drawn[twice] = _draws(random, len(twice), rows, distribution)
        concerned = np.zeros(len(lengths), np.bool_)
        concerned[bag[twice]] = True
        suspects = np.flatnonzero(concerned[bag])
    return drawn.astype(np.int32)


def _draws(random: np.random.Generator, count: int, rows: int, distribution: Distribution) -> NDArray[np.int64]:
    if distribution == "uniform":
        return random.integers(0, rows, count)
    low, high = ndtr(-_SPREAD / 2), ndtr(_SPREAD / 2)  # the normal distribution cut off at the table's ends
    points = ndtri(low + (high - low) * random.random(count))
    return np.clip((points / _SPREAD + 0.5) * rows, 0, rows - 1).astype(np.int64)


def _best_of_all(
    random: np.random.Generator, lengths: NDArray[np.int32], rows: int, distribution: Distribution
) -> NDArray[np.int32]:
    """The same for bags that hold much of their table: the rows with the greatest of log(weight) + Gumbel noise
    (Yellott, 1977: that is drawing without replacement)."""
    weights = np.zeros(rows)
    if distribution == "normal":
        edges = (np.arange(rows + 1) / rows - 0.5) * _SPREAD
        weights = np.log(np.diff(ndtr(edges)))
    drawn = [np.empty(0, np.int32)]
    at_a_time = max(_SCORES // rows, 1)
    for first in range(0, len(lengths), at_a_time):
        some = lengths[first : first + at_a_time]
        best = np.argsort(-weights - random.gumbel(size=(len(some), rows)), axis=1)
        drawn.append(best[np.arange(rows) < some[:, None]].astype(np.int32))
    return np.concatenate(drawn)
