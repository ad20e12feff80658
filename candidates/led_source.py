"""LED as an online source: the user's vector from the request's history, then the merchant's best items for it, then
the items that the model does not know, so that every merchant answers."""

from pathlib import Path

import numpy as np

from candidates.encoder import CountryItems, read_countries, read_json, user_vector
from candidates.index import GraphIndex, MerchantIndexes
from candidates.proposals import NOTHING, Proposal
from candidates.unknown_items import UnknownItems
from data.ids import load_array
from data.items import ItemTable
from data.request import Request


class LedCountry:
    """One country's model: its items, their vectors and its merchants' indexes."""

    name = "led"

    def __init__(
        self, items: CountryItems, indexes: MerchantIndexes, length_power: float, unknown: UnknownItems
    ) -> None:
        self.items, self.indexes, self.length_power, self.unknown = items, indexes, length_power, unknown

    def query(self, request: Request) -> np.ndarray:
        """float32 [d + 1]: the user's vector and a 1. Without history it is (0, ..., 0, 1): the biases decide."""
        vectors = self.indexes.vectors
        query = np.empty(vectors.shape[1], np.float32)
        query[:] = user_vector(vectors, self.items.rows_of(request.history.items), self.length_power)
        query[-1] = 1
        return query

    def propose(self, request: Request, k: int) -> Proposal:
        start, end = self.items.slice_of(request.merchant)
        excluded = self.items.rows_of(request.exclude)
        found = self.indexes.search(request.merchant, start, end, self.query(request), k, excluded)
        known = Proposal(self.items.items[found.items], found.scores)
        return self.unknown.completed(known, request.merchant, k, request.exclude)

    @classmethod
    def load(cls, folder: Path) -> "LedCountry":
        facts = read_json(folder / "led.json")
        vectors = load_array(folder / "vectors.npy")
        graphs = {
            int(merchant): GraphIndex.load(folder / f"{merchant}.hnsw", found, vectors.shape[1])
            for merchant, found in facts["graphs"].items()
        }
        indexes = MerchantIndexes(vectors, graphs)
        return cls(CountryItems.load(folder), indexes, facts["length_power"], UnknownItems.load(folder))


class Led:
    """Each country has its own model; a request from a country without one is answered by the largest country's."""

    name = "led"

    def __init__(self, countries: dict[str, LedCountry], largest: str) -> None:
        self._countries, self._largest = countries, largest

    def propose(self, request: Request, k: int) -> Proposal:
        if not self._countries:
            return NOTHING
        country = self._countries.get(request.country) or self._countries[self._largest]
        return country.propose(request, k)


def load(folder: Path, items: ItemTable) -> Led:
    known = read_countries(folder / "led")
    countries = {name: LedCountry.load(folder / "led" / str(place)) for place, name in enumerate(known)}
    return Led(countries, known[0] if known else "")
