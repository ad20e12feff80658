"""Events grouped by user and sorted by time: the timelines both stages learn from, as compressed rows."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from data.ids import UNKNOWN
from data.items import ItemTable
from data.request import HISTORY_LIMIT, NO_HISTORY, History
from data.schema import EVENT_KINDS


@dataclass(frozen=True)
class Timelines:
    """U timelines with N events in all, each oldest first; events whose item the catalog lacks are left out.

    Attributes:
        users: user ids, sorted; position u owns the rows offsets[u] .. offsets[u + 1] - 1.
        countries: of each user's newest event, one string per user.
        offsets: int64 [U + 1].
        items: int32 [N], item positions. kinds: int8 [N], `EventKind` codes. ts: int64 [N], UTC microseconds.
        left_out: how many events were left out for want of their item.
    """

    users: list[str]
    countries: list[str]
    offsets: NDArray[np.int64]
    items: NDArray[np.int32]
    kinds: NDArray[np.int8]
    ts: NDArray[np.int64]
    left_out: int = 0

    def __len__(self) -> int:
        return len(self.users)

    @classmethod
    def of(cls, events: pa.Table, catalog: ItemTable, kinds: Sequence[str] = EVENT_KINDS) -> "Timelines":
        """From a table of EVENT_SCHEMA, keeping the given kinds. Ties in time are broken by event id."""
        events = events.sort_by([("user_id", "ascending"), ("ts", "ascending"), ("event_id", "ascending")])
        kind = _kind_codes(events["kind"])
        distinct = events["item_id"].combine_chunks().dictionary_encode()
        position_of = catalog.items.positions(distinct.dictionary.to_pylist())
        items = position_of[distinct.indices.to_numpy()] if len(events) else np.empty(0, np.int32)
        wanted = np.isin(kind, [EVENT_KINDS.index(name) for name in kinds])
        keep = wanted & (items != UNKNOWN)
        users = events["user_id"].combine_chunks().filter(pa.array(keep)).dictionary_encode()
        countries = events["country"].combine_chunks().filter(pa.array(keep)).to_pylist()
        offsets = np.zeros(len(users.dictionary) + 1, np.int64)
        np.cumsum(np.bincount(users.indices.to_numpy(), minlength=len(users.dictionary)), out=offsets[1:])
        return cls(
            users=users.dictionary.to_pylist(),
            countries=[countries[end - 1] for end in offsets[1:].tolist()],
            offsets=offsets,
            items=items[keep],
            kinds=kind[keep],
            ts=events["ts"].cast(pa.int64()).to_numpy()[keep],
            left_out=int((wanted & (items == UNKNOWN)).sum()),
        )

    def history(self, user: int, before: int | None = None, limit: int = HISTORY_LIMIT) -> History:
        """The newest `limit` events of user position `user` with ts < before (all of them if None)."""
        start, end = int(self.offsets[user]), int(self.offsets[user + 1])
        if before is not None:
            end = start + int(np.searchsorted(self.ts[start:end], before, side="left"))
        start = max(start, end - limit)
        if start == end:
            return NO_HISTORY
        return History(self.items[start:end], self.kinds[start:end], self.ts[start:end])

    def between(self, start: int | None, end: int | None) -> "Timelines":
        """The same users with only their events of start <= ts < end (microseconds; None: open)."""
        keep = np.ones(len(self.ts), bool)
        if start is not None:
            keep &= self.ts >= start
        if end is not None:
            keep &= self.ts < end
        kept_before = np.concatenate([[0], np.cumsum(keep)])
        return Timelines(
            users=self.users,
            countries=self.countries,
            offsets=kept_before[self.offsets],
            items=self.items[keep],
            kinds=self.kinds[keep],
            ts=self.ts[keep],
            left_out=self.left_out,
        )

    def user_of_event(self) -> NDArray[np.int32]:
        """int32 [N]: the user position of each event."""
        return np.repeat(np.arange(len(self), dtype=np.int32), np.diff(self.offsets))


def _kind_codes(column: pa.ChunkedArray) -> NDArray[np.int8]:
    encoded = column.combine_chunks().dictionary_encode()
    codes = np.array([EVENT_KINDS.index(name) for name in encoded.dictionary.to_pylist()], np.int8)
    return codes[encoded.indices.to_numpy()] if len(encoded) else np.empty(0, np.int8)
