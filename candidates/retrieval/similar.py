"""Items like another of the same merchant: by what people took together, else by their place in the category tree."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from candidates.best_of.gbo import GlobalBestOf, keep_mask
from candidates.category_paths import shared_path
from candidates.errors import CandidatesError
from candidates.led.source import Led
from candidates.proposals import NOTHING, CandidateSource, Proposal
from data.items import ItemTable

Basis = Literal["behaviour", "category", ""]


@dataclass(frozen=True)
class Similar:
    """Available items of the item's merchant, most alike first, without the item itself.

    Attributes:
        scores: of basis "behaviour" the cosine of the items' vectors, of "category" the share of the longer of the two
            category paths that both have in common.
        basis: "" if nothing is known to compare by; there are no items then.
    """

    items: NDArray[np.int32]
    scores: NDArray[np.float32]
    basis: Basis


class SimilarItems:
    """Answers which items are like one. Safe to call from several threads at once."""

    def __init__(self, items: ItemTable, led: Led, best_of: GlobalBestOf | None = None) -> None:
        """`best_of` orders items whose categories are equally near; without it they keep the catalog's order."""
        self._items, self._led, self._best_of = items, led, best_of

    @classmethod
    def of(cls, sources: Mapping[str, CandidateSource], items: ItemTable) -> "SimilarItems":
        """From the sources of a bundle. Raises CandidatesError without LED, whose vectors are compared."""
        led, best_of = sources.get("led"), sources.get("gbo")
        if not isinstance(led, Led):
            has = ", ".join(sources) or "no source"
            raise CandidatesError(f"similar items are found by the vectors of source led; the bundle has {has}")
        return cls(items, led, best_of if isinstance(best_of, GlobalBestOf) else None)

    def find(self, position: int, country: str, k: int, exclude: NDArray[np.int32]) -> Similar:
        """At most k items like the one at `position`, none from `exclude`.

        An item that nobody took has no vector yet: those of its own category answer, then those of the categories
        around it, the most popular first.

        Args:
            country: whose users' behaviour counts; one without a model is answered by the largest that knows the item.
        """
        found = self._led.similar(position, country, k, exclude)
        if found is not None:
            return Similar(found.items, found.scores, "behaviour")
        found = self._same_category(position, k, exclude)
        return Similar(found.items, found.scores, "category" if len(found) else "")

    def _same_category(self, position: int, k: int, exclude: NDArray[np.int32]) -> Proposal:
        table = self._items
        own = table.slice_of(int(table.merchant[position]))
        distinct, code = np.unique(table.category[own], return_inverse=True)
        path = table.categories.id(int(table.category[position]))
        nearness = np.array([shared_path(path, other) for other in table.categories.ids_at(distinct)], np.float32)[code]
        usable = (nearness > 0) & np.asarray(table.available)[own]
        positions = np.flatnonzero(usable).astype(np.int32) + np.int32(own.start)
        positions = positions[keep_mask(positions, np.append(exclude, np.int32(position)))]
        if not len(positions) or k < 1:
            return NOTHING
        nearness = nearness[positions - own.start]
        popularity = np.zeros(len(positions)) if self._best_of is None else self._best_of.scores[positions]
        order = np.lexsort((positions, -popularity, -nearness))[:k]
        return Proposal(positions[order], nearness[order])
