"""Rows of ratings, pairs and item lists become distinct (user, item) pairs, by position."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from candidates.errors import CandidatesError
from data.distinct import first_places
from data.readers.ratings import read_lists, read_ratings


@dataclass(frozen=True)
class Interactions:
    """N distinct (user, item) pairs in the order of the file.

    Attributes:
        user_ids: int64 or str [U], ascending (numbers as numbers). item_ids: the same [I].
        user: int32 [N], positions in user_ids. item: int32 [N], positions in item_ids.
    """

    user_ids: NDArray
    item_ids: NDArray
    user: NDArray[np.int32]
    item: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.user)

    def matrix(self) -> csr_matrix:
        """float32 [U, I], 1 for each pair."""
        return binary_matrix(self.user, self.item, (len(self.user_ids), len(self.item_ids)))

    @classmethod
    def of(cls, user_ids: NDArray, item_ids: NDArray) -> "Interactions":
        """From parallel arrays of ids [N]; of a pair that occurs twice the first stays."""
        users, user = np.unique(user_ids, return_inverse=True)
        items, item = np.unique(item_ids, return_inverse=True)
        return cls(users, items, *_distinct(user.astype(np.int32), item.astype(np.int32), len(items)))


def binary_matrix(rows: NDArray[np.integer], columns: NDArray[np.integer], shape: tuple[int, int]) -> csr_matrix:
    """float32 with 1 at the given distinct places, columns ascending within each row."""
    matrix = csr_matrix((np.ones(len(rows), np.float32), (rows, columns)), shape=shape)
    matrix.sort_indices()
    return matrix


def read_interactions(path: Path, above: float | None = None) -> Interactions:
    """Read a file of `user, item[, value[, ...]]` rows, or the ratings file in a folder or zip archive.

    The delimiter is "::", a comma, a tab, a semicolon or blanks, as the first line shows. A header is recognised by
    its column names (userId, movieId, rating ...); without one the first two columns are user and item, the third the
    value.

    Args:
        above: keep only rows whose value is greater than this (MovieLens: 3.5). None keeps every row.

    Raises:
        TandemError: no such file, no such column, a value that is not a number, an empty id, or no row left.
    """
    users, items, values, name = read_ratings(path, with_value=above is not None)
    if values is not None:
        liked = pc.greater(values, above)
        users, items = users.filter(liked), items.filter(liked)
    if len(users) == 0:
        raise CandidatesError(
            f"{name} holds no interaction" + (f" with a value above {above:g}" if above is not None else "")
        )
    user_ids, user = _encoded(users)
    item_ids, item = _encoded(items)
    return Interactions(user_ids, item_ids, *_distinct(user, item, len(item_ids)))


def read_item_lists(path: Path) -> tuple[NDArray, NDArray]:
    """Ids (users [N], items [N]) of a file whose lines are `user item item ...`, as LightGCN's train.txt and test.txt.

    A line with a user alone is a user without items. Ids are numbers if every one of them is.
    """
    users, items = read_lists(path)
    return _as_numbers(np.array(users)), _as_numbers(np.array(items))


def _encoded(column: pa.ChunkedArray) -> tuple[NDArray, NDArray[np.int32]]:
    """Ascending distinct ids that occur, and each row's position among them."""
    encoded = column.dictionary_encode().unify_dictionaries().combine_chunks()
    ids, position = np.unique(_as_numbers(np.array(encoded.dictionary.to_pylist())), return_inverse=True)
    return ids, position.astype(np.int32)[encoded.indices.to_numpy()]


def _as_numbers(ids: NDArray) -> NDArray:
    """int64 if every id is a whole number written the plain way ("7", not "07"), so that 10 sorts after 9."""
    try:
        numbers = ids.astype(np.int64)
    except (ValueError, OverflowError):
        return ids
    return numbers if np.array_equal(numbers.astype(ids.dtype), ids) else ids


def _distinct(
    user: NDArray[np.int32], item: NDArray[np.int32], items: int
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """The first of each pair, in the order given."""
    first = first_places(user.astype(np.int64) * items + item)
    return user[first], item[first]
