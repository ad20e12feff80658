"""LED as an online source: the user's vector from the request's history, then the merchant's best items for it, then
the items that the model does not know, so that every merchant answers. It also says why it proposed an item, and which
items are like another."""

import json
from collections.abc import Hashable, Mapping
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from candidates.best_of.unknown_items import UnknownItems
from candidates.encoder import CountryItems, read_countries, read_json, user_vector
from candidates.errors import CandidatesError
from candidates.explanation import Explanation
from candidates.index import NEVER, MerchantIndexes, inverse_norms, load_graphs, save_graphs
from candidates.led.vectors import LedVectors
from candidates.proposals import NOTHING, Proposal, Told
from data.ids import load_array
from data.items import ItemTable
from data.request import Allowed, Request


class _AllowedRows:
    """A request's filter by the rows of a country's model (`RowFilter`), counted from the merchant's first."""

    def __init__(self, allowed: Allowed, items: CountryItems, start: int) -> None:
        self._allowed, self._items, self._start = allowed, items, start
        self.count = len(allowed.items)
        self.key: Hashable = start, allowed.asked  # not `allowed`: it holds arrays, and may be made anew

    def passes(self, rows: NDArray[np.integer]) -> NDArray[np.bool_]:
        return self._allowed.passes(self._items.items[rows + self._start])

    def rows(self) -> NDArray[np.int32]:
        found: NDArray[np.int32] = self._items.rows[self._allowed.items] - np.int32(self._start)
        return found[found >= 0]


class LedCountry:
    """One country's model: its items, their vectors and its merchants' indexes.

    Attributes:
        scales: float32 [R], by which an item's vector becomes its input vector; None: 1.
        told: hears how long the user's vector and the search take (Table 4 of the LED paper); None: nobody asks.
        biases: float32 [R], of the items that are not available, too; None: these were not kept.
    """

    name = "led"
    bounded = True

    def __init__(
        self,
        items: CountryItems,
        indexes: MerchantIndexes,
        length_power: float,
        unknown: UnknownItems,
        scales: NDArray[np.float32] | None = None,
        biases: NDArray[np.float32] | None = None,
    ) -> None:
        self.items, self.indexes, self.length_power, self.unknown = items, indexes, length_power, unknown
        self.told: Told | None = None
        self.scales, self.biases = scales, biases

    @classmethod
    def of(cls, vectors: LedVectors, known: CountryItems, items: ItemTable, unknown: UnknownItems) -> "LedCountry":
        """Every merchant scanned. An item that is not available has a bias of NEVER, and still describes users."""
        biases = np.where(np.asarray(items.available)[known.items], vectors.biases, NEVER)
        rows = np.column_stack([vectors.vectors, biases]).astype(np.float32)
        scaled = (vectors.scales != 1).any()
        indexes = MerchantIndexes(rows, {}, inverse_norms(rows))
        return cls(known, indexes, vectors.length_power, unknown, vectors.scales if scaled else None, vectors.biases)

    def query(self, request: Request) -> NDArray[np.float32]:
        """float32 [d + 1]: the user's vector and a 1. Without history it is (0, ..., 0, 1): the biases decide."""
        vectors = self.indexes.vectors
        query = np.empty(vectors.shape[1], np.float32)
        query[:] = user_vector(vectors, self.items.rows_of(request.history.items), self.length_power, self.scales)
        query[-1] = 1
        return query

    def propose(self, request: Request, k: int) -> Proposal:
        start, end = self.items.slice_of(request.merchant)
        excluded = self.items.rows_of(request.exclude) if len(request.exclude) else request.exclude
        allowed = None if request.allowed is None else _AllowedRows(request.allowed, self.items, start)
        began = perf_counter()
        query = self.query(request)
        between = perf_counter()
        found = self.indexes.search(request.merchant, start, end, query, k, excluded, allowed)
        if self.told is not None:
            self.told("user vector", between - began)
            self.told("search", perf_counter() - between)
        known = Proposal(self.items.items[found.items], found.scores)
        return self.unknown.completed(known, request.merchant, k, request.exclude, request.allowed)

    def explain(self, request: Request, positions: NDArray[np.int32]) -> Explanation:
        """What every item of the request's history adds to the score of these item positions."""
        vectors = self.indexes.vectors
        rows, history = self.items.rows[positions], self.items.rows_of(request.history.items)
        known = rows >= 0
        known[known] = vectors[rows[known], -1] > NEVER / 2
        chosen = np.zeros((len(rows), vectors.shape[1]), np.float32)
        chosen[known] = vectors[rows[known]]
        weights = (np.ones(len(history), np.float32) if self.scales is None else self.scales[history])[:, None]
        of_history = weights * vectors[history, :-1] / np.float32(max(1, len(history)) ** self.length_power)
        return Explanation(self.items.items[history], known, chosen[:, -1], chosen[:, :-1] @ of_history.T)

    def similar(self, position: int, k: int, exclude: NDArray[np.int32]) -> Proposal | None:
        """The merchant's available items whose vectors point the way of this item's, by cosine; scale and bias, what an
        item has of popularity, do not count. None where the model has no vector of the item."""
        row = int(self.items.rows[position])
        if row < 0 or not self.indexes.vectors[row, :-1].any():
            return None
        start, end = self.items.slice_of(int(np.searchsorted(self.items.merchant_rows, row, side="right")) - 1)
        found = self.indexes.similar(start, end, row, k, self.items.rows_of(exclude))
        return Proposal(self.items.items[found.items], found.scores)

    def save(self, folder: Path, made: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
        """Writes the folder, with how the vectors were `made`; returns the facts of each graph by merchant position."""
        self.items.save(folder)
        self.unknown.save(folder)
        vectors = self.indexes.vectors
        np.save(folder / "vectors.npy", vectors)
        np.save(folder / "inverse_norms.npy", inverse_norms(vectors))
        if self.scales is not None:
            np.save(folder / "scales.npy", self.scales)
        if self.biases is not None:
            np.save(folder / "biases.npy", self.biases)
        facts = save_graphs(
            folder, self.indexes.graphs, lambda merchant: vectors[slice(*self.items.slice_of(merchant))]
        )
        described = {"length_power": self.length_power, "scaled": self.scales is not None, "made": dict(made)}
        (folder / "led.json").write_text(json.dumps({**described, "graphs": facts}) + "\n")
        return facts

    @classmethod
    def load(cls, folder: Path) -> "LedCountry":
        """From what `save` wrote; older bundles have vectors alone, of scales 1."""
        facts = read_json(folder / "led.json")
        vectors = load_array(folder / "vectors.npy")
        items = CountryItems.load(folder)
        graphs, highest = load_graphs(
            folder, facts["graphs"], lambda merchant: vectors[slice(*items.slice_of(merchant))]
        )
        norms = folder / "inverse_norms.npy"
        scales = load_array(folder / "scales.npy") if facts.get("scaled") else None
        indexes = MerchantIndexes(vectors, graphs, load_array(norms) if norms.exists() else None, highest)
        biases = load_array(folder / "biases.npy") if (folder / "biases.npy").exists() else None
        return cls(items, indexes, facts["length_power"], UnknownItems.load(folder), scales, biases)


class Led:
    """Each country has its own model; a request from a country without one is answered by the largest country's."""

    name = "led"
    bounded = True

    def __init__(self, countries: dict[str, LedCountry], largest: str) -> None:
        self._countries, self._largest = countries, largest

    def watch(self, told: Told) -> None:
        """Tell how long the user's vector and the search take, from now on."""
        for country in self._countries.values():
            country.told = told

    def propose(self, request: Request, k: int) -> Proposal:
        return self.country(request.country).propose(request, k) if self._countries else NOTHING

    def explain(self, request: Request, positions: NDArray[np.int32]) -> Explanation:
        """As `LedCountry.explain`, by the model that proposes to the request."""
        return self.country(request.country).explain(request, positions)

    def similar(self, position: int, country: str, k: int, exclude: NDArray[np.int32]) -> Proposal | None:
        """As `LedCountry.similar`, by the country's model; if it does not know the item, by the largest that does."""
        for one in dict.fromkeys((self._countries.get(country), *self._countries.values())):
            found = one.similar(position, k, exclude) if one is not None else None
            if found is not None:
                return found
        return None

    def directions(self, country: str, positions: NDArray[np.int32]) -> NDArray[np.float32]:
        """float32 [n, d]: the vectors of item positions, of length 1; 0 for an item that the country's model lacks."""
        model = self.country(country)
        rows = model.items.rows[positions]
        found: NDArray[np.float32] = np.where((rows >= 0)[:, None], model.indexes.vectors[rows, :-1], np.float32(0))
        lengths = np.sqrt(np.einsum("nd,nd->n", found, found))[:, None]
        return np.divide(found, lengths, where=lengths > 0, out=np.zeros_like(found))

    def item_vectors(self, country: str) -> tuple[NDArray[np.int32], LedVectors]:
        """(item positions int32 [R], their vectors) of a country's model; what is not available has the bias NEVER.

        Args:
            country: "": the largest.

        Raises:
            CandidatesError: no model of this country.
        """
        if not self._countries or (country and country not in self._countries):
            raise CandidatesError(
                f"LED has no model of country {country!r}; expected one of {', '.join(self._countries)}"
            )
        model = self.country(country)
        rows = np.asarray(model.indexes.vectors)
        scales = np.ones(len(rows), np.float32) if model.scales is None else np.asarray(model.scales)
        return np.asarray(model.items.items), LedVectors(rows[:, :-1], scales, rows[:, -1], model.length_power)

    def country(self, name: str) -> LedCountry:
        """The model that answers for a country."""
        return self._countries.get(name) or self._countries[self._largest]


def load(folder: Path, items: ItemTable) -> Led:
    known = read_countries(folder / "led")
    countries = {name: LedCountry.load(folder / "led" / str(place)) for place, name in enumerate(known)}
    return Led(countries, known[0] if known else "")
