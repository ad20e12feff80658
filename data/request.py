"""One banner request, as both stages see it: ids already turned into a bundle's positions."""

from dataclasses import dataclass, field

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
    """

    user_id: str
    merchant: int
    country: str
    ts: int
    history: History = NO_HISTORY
    publisher: str = ""
    device: str = ""
    exclude: NDArray[np.int32] = field(default_factory=lambda: _NO_ITEMS)
