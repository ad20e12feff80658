"""What users did on their own before a banner, as far as it changes their answers (`LifeConfig`)."""

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from data.simulator.browsing import Organic


class Past:
    """Of all users of a marketplace; computed when it is first asked for."""

    def __init__(self, organic: Organic, users: int, items: int) -> None:
        self._organic, self._users, self._items = organic, users, items

    def has_viewed(
        self, users: NDArray[np.integer], items: NDArray[np.integer], before: NDArray[np.int64]
    ) -> NDArray[np.bool_]:
        """Whether each user viewed an item on their own before a time; the arguments broadcast."""
        keys, first = self._first_views
        wanted = users.astype(np.int64) * self._items + items
        place = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
        return (keys[place] == wanted) & (first[place] < before)

    @cached_property
    def spent(self) -> NDArray[np.float64]:
        """float64 [U]: log(1 + a user's organic sales / the mean order); all of them are before the test."""
        value = np.nan_to_num(self._organic.order_value)
        sums = np.bincount(self._organic.user, value, minlength=self._users)
        return np.log1p(sums / (value[value > 0].mean() if (value > 0).any() else 1.0))

    @cached_property
    def _first_views(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(user and item in one number, sorted; when they first met). Events are oldest first."""
        pair = self._organic.user.astype(np.int64) * self._items + self._organic.item
        keys, first = np.unique(pair, return_index=True)
        return keys, np.asarray(self._organic.ts)[first]
