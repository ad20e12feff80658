"""Counts per item over the training events: as they stand for serving, as they stood at a past moment for training."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from data.ids import UNKNOWN, load_array
from data.items import ItemTable
from data.schema import EventKind
from data.timelines import Timelines


@dataclass(frozen=True)
class ItemStatistics:
    """Counts of n items (all I of a catalog, or one per row).

    Attributes:
        views, clicks, sales: int64 [n], events on the item.
        merchant_views: int64 [n], views of all items of the item's merchant.
        displays, landed: int64 [n], slots that showed the item, and those of them whose click landed.
        overall_click_rate: landed clicks per displayed slot over all items; 0 without a display log.
    """

    views: NDArray[np.int64]
    clicks: NDArray[np.int64]
    sales: NDArray[np.int64]
    merchant_views: NDArray[np.int64]
    displays: NDArray[np.int64]
    landed: NDArray[np.int64]
    overall_click_rate: float

    @classmethod
    def of(
        cls,
        timelines: Timelines,
        items: ItemTable,
        slots: tuple[pa.Array, NDArray[np.float32]] | None,
        earlier: "ItemStatistics | None" = None,
    ) -> "ItemStatistics":
        """Over all of `timelines`, and over a log's slots: the item ids shown, and 1 where a click landed.

        The slots come on top of those that `earlier` has counted, if given.
        """
        count = {
            kind: np.bincount(timelines.items[timelines.kinds == kind], minlength=len(items)).astype(np.int64)
            for kind in (EventKind.view, EventKind.click, EventKind.sale)
        }
        by_merchant = np.bincount(items.merchant, count[EventKind.view], len(items.merchants)).astype(np.int64)
        displays, landed = np.zeros(len(items), np.int64), np.zeros(len(items), np.int64)
        if earlier is not None:
            displays, landed = displays + earlier.displays, landed + earlier.landed
        if slots is not None and len(slots[0]):
            position, label = positions_of_column(items, slots[0]), slots[1]
            known = position != UNKNOWN
            displays += np.bincount(position[known], minlength=len(items))
            landed += np.bincount(position[known], label[known], len(items)).astype(np.int64)
        return cls(
            views=count[EventKind.view],
            clicks=count[EventKind.click],
            sales=count[EventKind.sale],
            merchant_views=by_merchant[items.merchant],
            displays=displays,
            landed=landed,
            overall_click_rate=float(landed.sum() / max(displays.sum(), 1)),
        )

    def save(self, folder: Path) -> None:
        for field in fields(self):
            np.save(folder / f"{field.name}.npy", np.asarray(getattr(self, field.name)))

    @classmethod
    def load(cls, folder: Path) -> "ItemStatistics":
        found: dict[str, Any] = {field.name: load_array(folder / f"{field.name}.npy") for field in fields(cls)}
        return cls(**{**found, "overall_click_rate": float(found["overall_click_rate"])})


class PastStatistics:
    """Counts of events strictly before a given moment, so that a training row never counts its own outcome."""

    def __init__(self, timelines: Timelines, items: ItemTable) -> None:
        self._merchant = np.asarray(items.merchant)
        self._by_item = {
            kind: _Grouped.of(timelines, timelines.items, len(items), kind)
            for kind in (EventKind.view, EventKind.click, EventKind.sale)
        }
        merchant_of_event = self._merchant[timelines.items]
        self._by_merchant = _Grouped.of(timelines, merchant_of_event, len(items.merchants), EventKind.view)

    def at(self, positions: NDArray[np.int32], ts: NDArray[np.int64]) -> ItemStatistics:
        """The counts of item positions[k] before ts[k]. There was no display log then: its counts are 0."""
        none = np.zeros(len(positions), np.int64)
        return ItemStatistics(
            views=self._by_item[EventKind.view].before(positions, ts),
            clicks=self._by_item[EventKind.click].before(positions, ts),
            sales=self._by_item[EventKind.sale].before(positions, ts),
            merchant_views=self._by_merchant.before(self._merchant[positions], ts),
            displays=none,
            landed=none,
            overall_click_rate=0.0,
        )


@dataclass(frozen=True)
class _Grouped:
    """Times of events by group, ascending within each: group g owns ts[offsets[g] : offsets[g + 1]]."""

    offsets: NDArray[np.int64]
    ts: NDArray[np.int64]

    @classmethod
    def of(cls, timelines: Timelines, group: NDArray[np.int32], groups: int, kind: EventKind) -> "_Grouped":
        chosen = timelines.kinds == kind
        group, ts = group[chosen], timelines.ts[chosen]
        offsets = np.zeros(groups + 1, np.int64)
        np.cumsum(np.bincount(group, minlength=groups), out=offsets[1:])
        return cls(offsets, ts[np.lexsort((ts, group))])

    def before(self, group: NDArray[np.int32], moment: NDArray[np.int64]) -> NDArray[np.int64]:
        start = self.offsets[group]
        if not len(self.ts):
            return np.zeros(len(group), np.int64)
        return first_not_before(self.ts, start, self.offsets[group.astype(np.int64) + 1], moment) - start


def first_not_before(
    ts: NDArray[np.int64], start: NDArray[np.int64], end: NDArray[np.int64], moment: NDArray[np.int64]
) -> NDArray[np.int64]:
    """For each k, the first place in the ascending run ts[start[k] : end[k]] that is not before moment[k].

    Many binary searches side by side: as many steps as the longest run needs.
    """
    low, high = start.astype(np.int64, copy=True), end.astype(np.int64, copy=True)
    while (unfinished := low < high).any():
        middle = (low + high) // 2
        earlier = unfinished & (ts[np.minimum(middle, len(ts) - 1)] < moment)
        low = np.where(earlier, middle + 1, low)
        high = np.where(unfinished & ~earlier, middle, high)
    return low


def positions_of_column(items: ItemTable, ids: pa.Array) -> NDArray[np.int32]:
    """int32 [n]: the position of every id of an Arrow column, each distinct one looked up once; UNKNOWN if not held."""
    encoded = pc.dictionary_encode(ids) if not pa.types.is_dictionary(ids.type) else ids
    return items.items.positions(encoded.dictionary.to_pylist())[encoded.indices.to_numpy(zero_copy_only=False)]
