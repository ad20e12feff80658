"""What responses and log records say of an item, as the bytes that stand in them: made once for items often shown."""

from functools import lru_cache

from data.items import ItemTable
from gateway.message_bytes import bytes_field, float_field, number_field, text_field
from gateway.wire import CANDIDATES

_HOT = 1 << 14
"""Items of each kind that are kept."""


class ItemBytes:
    """Of one bundle's items, by position.

    Attributes:
        named: (item id, category).
        shown: of a response's `Slot` item_id, title, image_url, category and price.
        logged: of a `LoggedSlot` item_id and category.
        recent, recent_category: an entry of a `DisplayRecord`'s lists of these names.
    """

    def __init__(self, items: ItemTable) -> None:
        self._items = items
        self.named = lru_cache(_HOT)(self._named)
        self.shown = lru_cache(_HOT)(self._shown)
        self.logged = lru_cache(_HOT)(self._logged)
        self.recent = lru_cache(_HOT)(lambda item: bytes_field(13, self.named(item)[0].encode()))
        self.recent_category = lru_cache(_HOT)(lambda item: bytes_field(14, self.named(item)[1].encode()))

    def _named(self, item: int) -> tuple[str, str]:
        items = self._items
        return items.items.id(item), items.categories.id(int(items.category[item]))

    def _shown(self, item: int) -> bytes:
        item_id, category = self.named(item)
        texts = (item_id, self._items.titles[item], self._items.image_urls[item], category)
        price = float_field(6, float(self._items.price[item]))
        return b"".join(text_field(field, text) for field, text in enumerate(texts, 2)) + price

    def _logged(self, item: int) -> bytes:
        item_id, category = self.named(item)
        return text_field(2, item_id) + text_field(3, category)


@lru_cache(1 << 10)
def sources_bytes(field: int, names: tuple[str, ...]) -> bytes:
    """A list of sources' names."""
    return b"".join(bytes_field(field, name.encode()) for name in names)


@lru_cache(1 << 12)
def stage_time(field: int, stage: str, us: int) -> bytes:
    """A `StageTime`, which responses and records hold alike, as the field of this number."""
    return bytes_field(field, text_field(1, stage) + number_field(2, us))


POSITIONS = [number_field(1, place) for place in range(CANDIDATES)]
"""The position of a slot, in responses and in records; logged answers have more slots than banners."""
