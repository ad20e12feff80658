"""What users did, in blocks: stage one's sources learn from `UserItems`, wherever these lie.

Each step is a function of one block of users whose results add up, so it runs over all users at once in memory
(`LocalBehaviour`), or block by block where Spark keeps them (`distributed/behaviour.py`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash
from numpy.typing import NDArray

from data.ids import UNKNOWN
from data.items import ItemTable
from data.schema import EventKind
from data.timelines import Timelines

UNCLICKED = ("user_id", "item_id")
"""Columns of a table of what users were shown in banners and never clicked, each pair once."""

_SPARK_SEED = 42  # of its xxhash64


@dataclass(frozen=True)
class Lists:
    """A list of item positions for each of U users: offsets int64 [U + 1], items int32."""

    offsets: NDArray[np.int64]
    items: NDArray[np.int32]

    @classmethod
    def empty(cls, users: int) -> "Lists":
        return cls(np.zeros(users + 1, np.int64), np.empty(0, np.int32))

    def chosen(self, users: NDArray[np.int64]) -> "Lists":
        offsets, rows = _rows_of(self.offsets, users)
        return Lists(offsets, self.items[rows])


@dataclass(frozen=True)
class UserItems:
    """U users with the N distinct items they took, each item at its newest event, oldest first within a user.

    Attributes:
        offsets: int64 [U + 1]; user u owns the rows offsets[u] .. offsets[u + 1] - 1.
        items: int32 [N], item positions.
        beyond_view: bool [N], whether any event with the item was more than a view.
        ts: int64 [N], UTC microseconds, of the newest event.
        unclicked: of each user, what banners showed and the user never clicked, ascending.
    """

    offsets: NDArray[np.int64]
    items: NDArray[np.int32]
    beyond_view: NDArray[np.bool_]
    ts: NDArray[np.int64]
    unclicked: Lists

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def user_of_item(self) -> NDArray[np.int64]:
        """int64 [N]."""
        return np.repeat(np.arange(len(self)), np.diff(self.offsets))

    def newest(self, limit: int) -> "UserItems":
        """The same users with their newest `limit` items."""
        kept = self.offsets[1:][self.user_of_item()] - np.arange(len(self.items)) <= limit
        offsets = np.zeros(len(self.offsets), np.int64)
        np.cumsum(np.minimum(np.diff(self.offsets), limit), out=offsets[1:])
        return UserItems(offsets, self.items[kept], self.beyond_view[kept], self.ts[kept], self.unclicked)

    def before_newest(self) -> NDArray[np.int64]:
        """int64 [N]: microseconds from each item's newest event to its user's."""
        lengths = np.diff(self.offsets)
        newest = self.ts[np.maximum(self.offsets[1:] - 1, 0)[lengths > 0]]
        return np.repeat(newest, lengths[lengths > 0]) - self.ts

    def chosen(self, users: NDArray[np.int64]) -> "UserItems":
        """Some of the users, in the order given."""
        offsets, rows = _rows_of(self.offsets, users)
        return UserItems(offsets, self.items[rows], self.beyond_view[rows], self.ts[rows], self.unclicked.chosen(users))


def _rows_of(offsets: NDArray[np.int64], users: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(offsets int64 [len(users) + 1], rows): the rows that some users own, in the order given."""
    lengths = np.diff(offsets)[users]
    found = np.zeros(len(users) + 1, np.int64)
    np.cumsum(lengths, out=found[1:])
    return found, np.arange(found[-1]) - np.repeat(found[:-1] - offsets[users], lengths)


Keys: TypeAlias = NDArray[np.int64]
CountedFunction: TypeAlias = Callable[[UserItems], Keys]
"""Of one block of users: keys, of which every occurrence counts one."""


@dataclass(frozen=True)
class Counts:
    """How often each key occurred: keys int64 [n], ascending; counts int64 [n]."""

    keys: Keys
    counts: NDArray[np.int64]


class Behaviour(Protocol):
    """The users trained on, by country (that of a user's newest event)."""

    users: int
    events: int

    def total(self, function: CountedFunction, country: str | None = None) -> Counts:
        """The function's keys over all users of a country (None: of all countries), counted."""
        ...

    def sample(self, country: str, count: int) -> UserItems:
        """At most `count` users of a country, those whose ids have the least hashes, in the order of their ids."""
        ...

    def shards(self, country: str) -> Sequence[UserItems]:
        """All users of a country in parts that fit into memory one at a time, each in the order of user ids."""
        ...


class LocalBehaviour:
    """Of timelines in memory; a country is one shard.

    Args:
        unclicked: columns `UNCLICKED`; users and items that are not known are left out.
    """

    def __init__(self, timelines: Timelines, items: ItemTable, unclicked: pa.Table | None = None) -> None:
        self._timelines, self._items = timelines, len(items)
        self._unclicked = _unclicked_lists(timelines, items, unclicked)
        self._countries = np.array(timelines.countries, object)
        self.users, self.events = len(timelines), len(timelines.items)

    def total(self, function: CountedFunction, country: str | None = None) -> Counts:
        keys, counts = np.unique(function(self._user_items(self._users_of(country))), return_counts=True)
        return Counts(keys, counts)

    def sample(self, country: str, count: int) -> UserItems:
        users = self._users_of(country)
        if len(users) > count:
            hashes = np.array([spark_xxhash64(self._timelines.users[user]) for user in users.tolist()], np.int64)
            users = users[np.sort(np.lexsort((users, hashes))[:count])]
        return self._user_items(users)

    def shards(self, country: str) -> list[UserItems]:
        return [self._user_items(self._users_of(country))]

    def _users_of(self, country: str | None) -> NDArray[np.int64]:
        return np.arange(self.users) if country is None else np.flatnonzero(self._countries == country)

    def _user_items(self, users: NDArray[np.int64]) -> UserItems:
        user, item, row = distinct_pairs(self._timelines, users, self._items)
        offsets = np.searchsorted(user, np.arange(len(users) + 1)).astype(np.int64)
        beyond_view = np.isin(users[user] * self._items + item, self._beyond_view)
        return UserItems(offsets, item, beyond_view, self._timelines.ts[row], self._unclicked.chosen(users))

    @cached_property
    def _beyond_view(self) -> NDArray[np.int64]:
        """Every pair of user and item with an event that is more than a view, as user * items + item."""
        rows = np.flatnonzero(self._timelines.kinds != EventKind.view)
        users = self._timelines.user_of_event()[rows].astype(np.int64)
        return np.unique(users * self._items + self._timelines.items[rows])


def _unclicked_lists(timelines: Timelines, items: ItemTable, unclicked: pa.Table | None) -> Lists:
    if unclicked is None:
        return Lists.empty(len(timelines))
    users = pc.index_in(unclicked["user_id"], value_set=pa.array(timelines.users, pa.string()))
    user = pc.fill_null(users, UNKNOWN).to_numpy().astype(np.int64)
    distinct = unclicked["item_id"].combine_chunks().dictionary_encode()
    item = items.items.positions(distinct.dictionary.to_pylist())[distinct.indices.to_numpy()]
    known = (user != UNKNOWN) & (item != UNKNOWN)
    pairs = np.unique(user[known] * len(items) + item[known])
    offsets = np.searchsorted(pairs, np.arange(len(timelines) + 1) * len(items)).astype(np.int64)
    return Lists(offsets, (pairs % max(1, len(items))).astype(np.int32))


def spark_xxhash64(text: str) -> int:
    """What Spark's `xxhash64` makes of a string: a signed 64-bit number."""
    unsigned = xxhash.xxh64_intdigest(text.encode(), seed=_SPARK_SEED)
    return unsigned - (1 << 64) if unsigned >= 1 << 63 else unsigned


def distinct_pairs(
    timelines: Timelines, users: NDArray[np.int64], items: int
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int64]]:
    """The distinct (user, item) pairs of some users, each at its newest event, oldest first within a user.

    Returns:
        (user int64 [N], an index into `users`; item int32 [N]; row of the newest event int64 [N]).
    """
    index_of = np.full(len(timelines), -1, np.int64)
    index_of[users] = np.arange(len(users))
    of_event = index_of[timelines.user_of_event()]
    rows = np.flatnonzero(of_event >= 0)
    key = of_event[rows] * items + timelines.items[rows]
    _, newest = np.unique(key[::-1], return_index=True)
    rows = rows[np.sort(len(rows) - 1 - newest)]
    rows = rows[np.argsort(of_event[rows], kind="stable")]
    return of_event[rows], timelines.items[rows], rows
