"""One banner request, as both stages see it: ids already turned into a bundle's positions."""

from dataclasses import dataclass, field
from typing import Self

import numpy as np
from numpy.typing import NDArray

HISTORY_LIMIT = 50
"""The newest events of a user that any part looks at, offline and online alike."""

_NO_ITEMS = np.empty(0, np.int32)


@dataclass(frozen=True, slots=True)
class History:
    """A user's events, oldest first, at most HISTORY_LIMIT of them; items the bundle does not know are left out.

    Attributes:
        items: int32 [T], item positions.
        kinds: int8 [T], `EventKind` codes.
        ts: int64 [T], UTC microseconds.
    """

    items: NDArray[np.int32]
    kinds: NDArray[np.int8]
    ts: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.items)


NO_HISTORY = History(_NO_ITEMS, np.empty(0, np.int8), np.empty(0, np.int64))


@dataclass(frozen=True, slots=True)
class ItemFilter:
    """Conditions on items, all of which hold for what is proposed.

    Attributes:
        categories: paths; an item passes that is in one of them or below. (): every category.
        min_price, max_price: in the merchant's currency, both included; an item without a price passes neither.
    """

    categories: tuple[str, ...] = ()
    min_price: float | None = None
    max_price: float | None = None

    def __bool__(self) -> bool:
        return bool(self.categories) or self.min_price is not None or self.max_price is not None


NO_FILTER = ItemFilter()


@dataclass(frozen=True, slots=True, eq=False)
class Allowed:
    """Which items of one merchant pass a filter (`data.filters`).

    Attributes:
        asked: the filter. start: the merchant's first position.
        mask: bool [n], of the merchant's items: it passes, and is available.
        items: int32 [a], the positions of those that do, ascending.
    """

    asked: ItemFilter
    start: int
    mask: NDArray[np.bool_]
    items: NDArray[np.int32]

    @classmethod
    def of(cls, asked: ItemFilter, start: int, mask: NDArray[np.bool_]) -> Self:
        """From the mask alone."""
        return cls(asked, start, mask, np.flatnonzero(mask).astype(np.int32) + np.int32(start))

    def passes(self, positions: NDArray[np.integer]) -> NDArray[np.bool_]:
        """bool [len(positions)], of positions of the merchant's items."""
        return self.mask[positions - self.start]


@dataclass(frozen=True, slots=True)
class Request:
    """Who is to be shown something of which merchant, when and where.

    Attributes:
        user_id: as the caller named them; may be unknown to the bundle, may be "".
        merchant: the merchant's position in the bundle.
        country: as the caller named it; may be unknown to the bundle.
        ts: UTC microseconds.
        history: what the user did before `ts`.
        publisher, device: where the banner appears; "" if not told.
        exclude: int32 [E], item positions that must not be proposed.
        allowed: what may be proposed at all; None: every available item.
    """

    user_id: str
    merchant: int
    country: str
    ts: int
    history: History = NO_HISTORY
    publisher: str = ""
    device: str = ""
    exclude: NDArray[np.int32] = field(default_factory=lambda: _NO_ITEMS)
    allowed: Allowed | None = None
