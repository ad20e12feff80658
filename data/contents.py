"""What a bundle can serve: its parts, sources, countries, merchants and items. A new bundle should not lack any."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from data.errors import DataError
from data.items import ItemTable

FAR_FEWER = 0.8
"""Less than this share of the available items that there were is a loss, and no change of assortment."""

_NAMED = 3


@dataclass(frozen=True)
class Contents:
    """What a bundle can serve.

    Attributes:
        parts: of catalog, candidates, ranker. sources: of stage one. countries: those with a model of their own.
        merchants: ids of those with an available item; None: there is no catalog that can be read.
        available: items that can be proposed.
    """

    parts: frozenset[str]
    sources: frozenset[str]
    countries: frozenset[str]
    merchants: frozenset[str] | None
    available: int

    @classmethod
    def of(cls, parts: Iterable[str], metrics: Mapping[str, Any], catalog: Path) -> "Contents":
        """From a bundle's manifest and its `catalog` folder."""
        trained = metrics.get("candidates", {})
        try:
            items = ItemTable.load(catalog)
        except DataError:
            merchants, available = None, 0
        else:
            merchants, available = merchants_of(items), int(np.count_nonzero(items.available))
        return cls(
            frozenset(parts),
            frozenset(trained.get("sources", ())),
            frozenset(trained.get("countries", ())),
            merchants,
            available,
        )

    def lost_in(self, later: "Contents") -> list[str]:
        """What the later bundle lacks, each in a few words: "the ranker", "merchants m2, m3"."""
        lost = [f"the {part}" for part in sorted(self.parts - later.parts)]
        if self.parts <= later.parts:
            lost += _named("source", self.sources - later.sources)
            lost += _named("country", self.countries - later.countries, "countries")
        if self.merchants is not None and later.merchants is not None:
            lost += lost_items(self.merchants, self.available, later.merchants, later.available)
        return lost


def merchants_of(items: ItemTable) -> frozenset[str]:
    """The merchants with an available item."""
    there = np.unique(np.asarray(items.merchant)[np.asarray(items.available)])
    return frozenset(items.merchants.ids_at(there))


def lost_items(merchants: frozenset[str], available: int, later: frozenset[str], available_later: int) -> list[str]:
    """The loss between two catalogs: merchants without an available item, and far fewer available items in all."""
    lost = _named("available items of merchant", merchants - later, "available items of merchants")
    if available_later < FAR_FEWER * available:
        lost.append(f"{available - available_later:,} of {available:,} available items")
    return lost


def refuse_fewer_items(before: ItemTable, after: ItemTable, whose: str) -> None:
    """Raises DataError if merchants or many items of the catalog of before are not available in that of after."""
    left, there = (int(np.count_nonzero(one.available)) for one in (after, before))
    lost = lost_items(merchants_of(before), there, merchants_of(after), left)
    if lost:
        raise DataError(
            f"{whose} leaves fewer items than the bundle in service has: without {', '.join(lost)}; expected about as "
            "many, or --allow to go on all the same"
        )


def _named(kind: str, names: frozenset[str], several: str = "") -> list[str]:
    if not names:
        return []
    shown = sorted(names)
    more = f" and {len(shown) - _NAMED:,} more" if len(shown) > _NAMED else ""
    return [f"{kind if len(shown) == 1 else several or kind + 's'} {', '.join(shown[:_NAMED])}{more}"]
