"""Labelled rows: what a ranker is trained and measured on.

`Rows` holds features with ids as strings; `Examples` holds the same with ids as table rows, ready for the models.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import xxhash
from numpy.typing import NDArray

from ranker.errors import RankerError
from ranker.features.specification import MISSING_ROW, Specification
from ranker.features.vocabulary import Vocabulary

NO_ROW = -1
"""Pads bags that are shorter than their longest."""


@dataclass(frozen=True)
class Rows:
    """n labelled rows of R requests, before vocabularies.

    Attributes:
        dense: float32 [n, D], in the specification's order.
        request: int64 [n], the request of each row; a request's rows stand together, requests in order of first row.
        request_columns: name -> strings [R]. item_columns: name -> strings [n]. Arrow, dictionary-encoded or not.
        bags: name -> list of strings [R].
        position: int32 [n], the slot, -1 unknown.
        label: float32 [n], 0 or 1.
        sale: float32 [n], whether the slot earned a sale, NaN where that is not known; None: of no row.
        ts: int64 [R], UTC microseconds.
        user: strings [R], to keep a user on one side of a split where times tie.
    """

    dense: NDArray[np.float32]
    request: NDArray[np.int64]
    request_columns: dict[str, pa.Array]
    item_columns: dict[str, pa.Array]
    bags: dict[str, pa.ListArray]
    position: NDArray[np.int32]
    label: NDArray[np.float32]
    ts: NDArray[np.int64]
    user: pa.Array
    sale: NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.label)

    def take(self, requests: NDArray[np.int64]) -> "Rows":
        """Only these requests (ascending), renumbered from 0."""
        kept = np.zeros(len(self.ts), bool)
        kept[requests] = True
        rows = np.flatnonzero(kept[self.request])
        number = np.cumsum(kept) - 1
        places = pa.array(rows)
        chosen = pa.array(np.flatnonzero(kept))
        return Rows(
            dense=self.dense[rows],
            request=number[self.request[rows]],
            request_columns={name: column.take(chosen) for name, column in self.request_columns.items()},
            item_columns={name: column.take(places) for name, column in self.item_columns.items()},
            bags={name: column.take(chosen) for name, column in self.bags.items()},
            position=self.position[rows],
            label=self.label[rows],
            ts=self.ts[kept],
            user=self.user.take(chosen),
            sale=None if self.sale is None else self.sale[rows],
        )


@dataclass(frozen=True)
class Examples:
    """n labelled rows, ids as rows of the specification's tables.

    Attributes:
        dense: float32 [n, D].
        single: int32 [n, S], a table row per single-valued feature, in the order of `Specification.singles`.
        bags: per bag int32 [R, length], table rows of the request, newest last, padded at the end with NO_ROW.
        request: int64 [n]. position: int32 [n]. label, sale: float32 [n]. As in `Rows`.
        weights: per bag float32 [R, length], of its ids, or None where they have none of their own; () of no bag.
    """

    dense: NDArray[np.float32]
    single: NDArray[np.int32]
    bags: tuple[NDArray[np.int32], ...]
    request: NDArray[np.int64]
    position: NDArray[np.int32]
    label: NDArray[np.float32]
    weights: tuple[NDArray[np.float32] | None, ...] = ()
    sale: NDArray[np.float32] | None = None

    @property
    def known_sales(self) -> NDArray[np.float32]:
        """float32 [n]: `sale`, NaN where it is not known."""
        return np.full(len(self), np.nan, np.float32) if self.sale is None else self.sale

    def __len__(self) -> int:
        return len(self.label)

    def of_bags(self) -> Iterator[tuple[NDArray[np.int32], NDArray[np.float32] | None]]:
        """The rows and the weights of each bag."""
        return zip(self.bags, self.weights or (None,) * len(self.bags), strict=True)

    def batch(self, rows: NDArray[np.int64]) -> "Examples":
        """Some rows; bags are spread to one per row, so that `request` becomes 0 .. len(rows) - 1."""
        request = self.request[rows]
        return Examples(
            self.dense[rows],
            self.single[rows],
            tuple(bag[request] for bag in self.bags),
            np.arange(len(rows)),
            self.position[rows],
            self.label[rows],
            tuple(None if one is None else one[request] for one in self.weights),
            None if self.sale is None else self.sale[rows],
        )


def id_columns(specification: Specification, rows: Sequence[Rows]) -> dict[str, list[pa.Array]]:
    """By table, the ids of every feature that reads it. Request features count once per row, bags once per request."""
    columns: dict[str, list[pa.Array]] = {name: [] for name in specification.tables}
    for part in rows:
        places = pa.array(part.request)
        for feature in specification.request:
            columns[feature.table].append(part.request_columns[feature.name].take(places))
        for feature in specification.item:
            columns[feature.table].append(part.item_columns[feature.name])
    for part in rows:
        for bag in specification.bags:
            columns[bag.table].append(part.bags[bag.name].flatten())
    return columns


def encode(specification: Specification, vocabularies: dict[str, Vocabulary], rows: Rows) -> Examples:
    """Ids to table rows."""
    single = np.empty((len(rows), len(specification.singles)), np.int32)
    for k, feature in enumerate(specification.request):
        single[:, k] = vocabularies[feature.table].rows_of_column(rows.request_columns[feature.name])[rows.request]
    for k, feature in enumerate(specification.item, len(specification.request)):
        single[:, k] = vocabularies[feature.table].rows_of_column(rows.item_columns[feature.name])
    bags = tuple(_padded(rows.bags[bag.name], vocabularies[bag.table], bag.length) for bag in specification.bags)
    return Examples(rows.dense, single, bags, rows.request, rows.position, rows.label, sale=rows.sale)


def require_rows(specification: Specification, rows: dict[str, int], examples: Examples) -> None:
    """Check that every id is a row of its table; `rows` of each table.

    fbgemm's fused kernels would take another for row 0, and say so on standard error only.

    Raises:
        RankerError: an id that is none, by its feature.
    """
    singles = [(one, ids, 0) for one, ids in zip(specification.singles, examples.single.T, strict=True)]
    bags = [(one, ids, NO_ROW) for one, ids in zip(specification.bags, examples.bags, strict=True)]
    for feature, ids, least in [*singles, *bags]:
        wrong = ids[(ids >= rows[feature.table]) | (ids < least)]
        if len(wrong):
            raise RankerError(
                f"{feature.name}: id {wrong[0]} is no row of table {feature.table}; expected 0 to "
                f"{rows[feature.table] - 1}"
            )


def _padded(lists: pa.ListArray, vocabulary: Vocabulary, length: int) -> NDArray[np.int32]:
    """int32 [R, length]: the last `length` ids of each list as table rows, padded at the end with NO_ROW."""
    rows = vocabulary.rows_of_column(lists.flatten())
    counts = lists.value_lengths().fill_null(0).to_numpy().astype(np.int64)
    ends = np.cumsum(counts)
    kept = np.minimum(counts, length)
    place = (ends - kept)[:, None] + np.arange(length)
    there = np.arange(length) < kept[:, None]
    if not len(rows):
        return np.full(there.shape, NO_ROW, np.int32)
    return np.where(there, rows[np.minimum(place, len(rows) - 1)], NO_ROW).astype(np.int32)


def concatenate(parts: Sequence[Examples]) -> Examples:
    """Examples of several origins as one; requests are renumbered."""
    starts = np.cumsum([0, *(len(part.bags[0]) if part.bags else _requests(part) for part in parts)])
    return Examples(
        dense=np.concatenate([part.dense for part in parts]),
        single=np.concatenate([part.single for part in parts]),
        bags=tuple(np.concatenate(bag) for bag in zip(*(part.bags for part in parts), strict=True)),
        request=np.concatenate([part.request + start for part, start in zip(parts, starts, strict=False)]),
        position=np.concatenate([part.position for part in parts]),
        label=np.concatenate([part.label for part in parts]),
        weights=tuple(
            None if any(one is None for one in bag) else np.concatenate(bag)
            for bag in zip(*(part.weights for part in parts), strict=True)
        ),
        sale=None if all(one.sale is None for one in parts) else np.concatenate([one.known_sales for one in parts]),
    )


def _requests(part: Examples) -> int:
    return int(part.request.max()) + 1 if len(part) else 0


def split_by_time(rows: Rows, validation: float, test: float) -> tuple[Rows, Rows, Rows]:
    """Train, validation, test: the last `test` of the requests by time, before them `validation`, before them the rest.

    Requests of one moment (a pool taken at a single past moment has only one) are put in the order of a hash of their
    user, so that a user's requests of that moment fall together.

    Raises:
        RankerError: a part would be empty.
    """
    requests = len(rows.ts)
    hashes = np.array([xxhash.xxh3_64_intdigest((one or "").encode()) for one in rows.user.to_pylist()], np.uint64)
    order = np.lexsort((hashes, rows.ts))
    first_test = requests - round(test * requests)
    first_validation = first_test - round(validation * requests)
    parts = np.split(order, [first_validation, first_test])
    if min(len(part) for part in parts) == 0:
        raise RankerError(f"{requests} requests are too few to split by time: expected some in each of three parts")
    train, middle, last = (rows.take(np.sort(part)) for part in parts)
    if not 0 < train.label.sum() < len(train):
        raise RankerError(
            f"the {len(train)} training rows hold {int(train.label.sum())} positives: expected both clicks and none"
        )
    return train, middle, last


def row_of_position(position: NDArray[np.int32], positions: int) -> NDArray[np.int64]:
    """int64 [n]: the row of the position bias: MISSING_ROW if unknown, slot p in row p + 1, the last row beyond."""
    return np.where(position < 0, MISSING_ROW, np.minimum(position + 1, positions)).astype(np.int64)
