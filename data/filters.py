"""Filters that requests ask for, in a bundle's positions: which items of a merchant pass."""

from collections import OrderedDict
from collections.abc import Sequence
from functools import cached_property
from threading import Lock

import numpy as np

from data.categories import category_key
from data.errors import DataError
from data.items import ItemTable
from data.request import Allowed, ItemFilter

KEPT_BYTES = 16 * 2**20
"""Of filters that were asked for, newest last: shops ask for few, again and again."""


MOST_CATEGORIES, PATH_LENGTH, HIGHEST_PRICE = 50, 512, 1e9
"""Of one filter."""


def item_filter(
    categories: Sequence[str] = (), min_price: float | None = None, max_price: float | None = None, where: str = ""
) -> ItemFilter:
    """A filter whose conditions make sense.

    Args:
        where: stands before a field's name in the sentence that refuses it.

    Raises:
        DataError: too many categories, one without a name, a price that is none, or no price between the two.
    """
    if len(categories) > MOST_CATEGORIES:
        raise DataError(f"{where}categories has {len(categories)} entries; expected at most {MOST_CATEGORIES}")
    for place, path in enumerate(categories):
        if not category_key(path) or len(path) > PATH_LENGTH:
            raise DataError(
                f"{where}categories[{place}] is {path!r:.80}; expected a category's path, such as shoes/boots, of at "
                f"most {PATH_LENGTH} characters"
            )
    for name, price in (("min_price", min_price), ("max_price", max_price)):
        if price is not None and not 0 <= price <= HIGHEST_PRICE:
            raise DataError(f"{where}{name} is {price:g}; expected a price from 0 to {HIGHEST_PRICE:.0f}")
    if min_price is not None and max_price is not None and min_price > max_price:
        raise DataError(f"{where}min_price is {min_price:g}; expected at most max_price, which is {max_price:g}")
    return ItemFilter(tuple(dict.fromkeys(categories)), min_price, max_price)


class ItemFilters:
    """Of one bundle's items. Safe to call from several threads at once."""

    def __init__(self, items: ItemTable) -> None:
        self._items = items
        self._kept: OrderedDict[tuple[int, ItemFilter], Allowed] = OrderedDict()
        self._bytes, self._lock = 0, Lock()

    def allowed(self, merchant: int, asked: ItemFilter) -> Allowed | None:
        """What passes at a merchant (a position of the bundle); None if the filter asks for nothing.

        A category that no item has, or a merchant outside the bundle, lets nothing pass.
        """
        if not asked:
            return None
        with self._lock:
            found = self._kept.get((merchant, asked))
            if found is not None:
                self._kept.move_to_end((merchant, asked))
                return found
        found = self._resolved(merchant, asked)
        with self._lock:
            if (merchant, asked) not in self._kept:  # else another thread was faster
                self._kept[merchant, asked] = found
                self._bytes += _size(found)
            while self._bytes > KEPT_BYTES and len(self._kept) > 1:
                self._bytes -= _size(self._kept.popitem(last=False)[1])
        return found

    def _resolved(self, merchant: int, asked: ItemFilter) -> Allowed:
        items = self._items
        own = items.slice_of(merchant) if 0 <= merchant < len(items.merchants) else slice(0, 0)
        mask = np.array(items.available[own], bool)
        if asked.categories:
            codes = {code for path in asked.categories for code in self._below.get(category_key(path), ())}
            wanted = np.zeros(len(items.categories), bool)
            wanted[list(codes)] = True
            mask &= wanted[items.category[own]]
        price = items.price[own]
        if asked.min_price is not None:
            mask &= price >= np.float32(asked.min_price)  # unknown prices are NaN and pass neither
        if asked.max_price is not None:
            mask &= price <= np.float32(asked.max_price)
        return Allowed.of(asked, own.start, mask)

    @cached_property
    def _below(self) -> dict[str, list[int]]:
        """The key of a category path -> the codes of the categories that are it or lie below."""
        found: dict[str, list[int]] = {}
        for code, path in enumerate(self._items.categories.ids()):
            steps = category_key(path).split("/")
            for depth in range(1, len(steps) + 1):
                found.setdefault("/".join(steps[:depth]), []).append(code)
        return found


def _size(one: Allowed) -> int:
    return one.mask.nbytes + one.items.nbytes
