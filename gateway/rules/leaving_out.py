"""Items that a rule leaves out before the sources propose: shown too often, or held out from some users."""

from collections.abc import Mapping

import numpy as np
import xxhash
from numpy.typing import NDArray

from data.ids import UNKNOWN
from data.items import ItemTable
from data.request import NO_FILTER, Allowed
from gateway.rules.settings import Cap, HoldOut
from gateway.timelines.store import Seen

_TO_FRACTION = 2.0**-64


def shown_too_often(cap: Cap, seen: Mapping[str, Seen], items: ItemTable) -> NDArray[np.int32]:
    """int32, ascending: the positions of what the cap leaves out."""
    found = [item for item, one in seen.items() if one.displays >= cap.shown and not one.clicks]
    positions = items.items.positions(found) if found else np.empty(0, np.int32)
    return np.unique(positions[positions != UNKNOWN])


class HeldOut:
    """The items of one bundle that a hold-out takes from some users.

    An item is held out, and a user takes part, by a hash of its id and the salt: the same in every process, and in
    every bundle that has the item.
    """

    def __init__(self, rule: HoldOut, items: ItemTable) -> None:
        self._rule, self._items = rule, items
        self._kept: dict[int, Allowed] = {}

    def takes_part(self, user_id: str) -> bool:
        """Whether the user does not see the items."""
        return _fraction(f"{self._rule.salt}:user:{user_id}") < self._rule.users

    def allowed(self, merchant: int, asked: Allowed | None) -> Allowed:
        """What a user who takes part may see of a merchant: what the request's filter lets pass, without the items."""
        own = self._kept.get(merchant)
        if own is None:
            place, items = self._items.slice_of(merchant), self._items
            ids = items.items.ids_at(np.arange(place.start, place.stop))
            seen = np.array([_fraction(f"{self._rule.salt}:item:{one}") >= self._rule.items for one in ids], bool)
            self._kept[merchant] = own = Allowed.of(NO_FILTER, place.start, seen & items.available[place])
        return own if asked is None else Allowed.of(asked.asked, asked.start, asked.mask & own.mask)


def _fraction(text: str) -> float:
    return float(xxhash.xxh64_intdigest(text.encode("utf-8", "surrogatepass")) * _TO_FRACTION)
