"""LED with new items: vectors between those it has, and every merchant's index extended."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from candidates.best_of.gbo import GlobalBestOf
from candidates.best_of.unknown_items import UnknownItems
from candidates.cold_start.extension import Extension, with_new_vectors
from candidates.cold_start.vectors import by_popularity
from candidates.encoder import read_countries, read_json, user_vector
from candidates.index import NEVER, WIDE_SHARE, GraphIndex, build_graph, marked
from candidates.led.source import LedCountry
from candidates.led.vectors import LedVectors


def extend_led(old: Path, new: Path, extension: Extension) -> dict[str, Any]:
    """Writes new/led from old/led; returns each country's facts of its graphs."""
    countries = read_countries(old / "led")
    figures = {
        country: _extend_led_country(old / "led" / str(place), new / "led" / str(place), country, extension)
        for place, country in enumerate(countries)
    }
    shutil.copy(old / "led" / "countries.json", new / "led" / "countries.json")
    return figures


def _extend_led_country(old: Path, new: Path, country: str, extension: Extension) -> dict[str, Any]:
    diff, source = extension.diff, LedCountry.load(old)
    before = np.asarray(source.indexes.vectors)
    items, rows, grown = with_new_vectors(source.items, before[:, :-1], country, extension)
    added = np.setdiff1d(np.arange(len(grown)), rows)
    biases = np.asarray(before[:, -1] if source.biases is None else source.biases)
    known = biases > NEVER / 2  # an older bundle kept no other biases than those of available items
    popularity = extension.popularity
    of_known, wanted = popularity[diff.moved[source.items.items]], popularity[items.items[added]]
    vectors = LedVectors(grown, np.ones(len(grown), np.float32), np.zeros(len(grown), np.float32), source.length_power)
    vectors.biases[rows] = np.where(known, biases, by_popularity(biases[known], of_known[known], of_known))
    vectors.biases[added] = by_popularity(biases[known], of_known[known], wanted)
    if source.scales is not None:
        vectors.scales[rows] = source.scales
        vectors.scales[added] = np.exp(by_popularity(np.log(source.scales), of_known, wanted))
    unknown = UnknownItems.of(items, GlobalBestOf.of(popularity, diff.after))
    extended = LedCountry.of(vectors, items, diff.after, unknown)
    _extend_graphs(source, extended, rows, extension)
    facts = extended.save(new, read_json(old / "led.json").get("made", {}))
    return {"graphs": {diff.after.merchants.id(int(merchant)): found for merchant, found in facts.items()}}


def _extend_graphs(source: LedCountry, extended: LedCountry, rows: NDArray[np.int32], extension: Extension) -> None:
    """Each merchant's graph without its retired rows, with its new ones scanned beside it, its width measured again;
    built anew where too many are gone or beside it, where the recall is missed, and where a merchant has outgrown the
    scan."""
    diff, config = extension.diff, extension.index
    before = {int(diff.merchants[merchant]): merchant for merchant in source.indexes.graphs}
    queries: NDArray[np.float32] | None = None
    for merchant in range(len(diff.after.merchants)):
        start, end = extended.items.slice_of(merchant)
        if end - start <= config.exact_up_to:
            continue
        if queries is None:
            queries = _queries(extended, extension)
        own, graph = extended.indexes.vectors[start:end], None
        if merchant in before:
            moved = rows[(rows >= start) & (rows < end)] - start
            old = source.indexes.vectors[slice(*source.items.slice_of(before[merchant]))]
            graph = _carried(source.indexes.graphs[before[merchant]], moved, old, own, config.most_scanned)
            graph = graph and graph.calibrated(own, queries, config.recall)
        graph = graph or build_graph(own, queries, config, extension.seed, extension.threads)
        if graph is not None:
            extended.indexes.graphs[merchant] = graph


def _carried(
    graph: GraphIndex, moved: NDArray[np.int32], old: NDArray[np.float32], own: NDArray[np.float32], most: int
) -> GraphIndex | None:
    """The graph for a merchant's rows as they are now; None where it should be built anew.

    Args:
        moved: int32 [n], where each row of before stands now. old, own: float32 [n, d + 1] and [n', d + 1], the rows.
        most: rows that may come to be scanned beside it.
    """
    available = own[:, -1] > NEVER / 2
    was, now = old[:, -1] > NEVER / 2, available[moved]
    graph = marked(graph, np.flatnonzero(was & ~now), np.flatnonzero(~was & now))
    there = moved[np.concatenate([graph.in_graph, graph.copies[:, 1], graph.scanned])]
    added = np.setdiff1d(np.flatnonzero(available), there).astype(np.int32)
    first = max(most, graph.facts.items // WIDE_SHARE)
    if len(added) > most or len(graph.scanned) + len(added) > first + most:
        return None
    if 2 * np.count_nonzero(~now[graph.in_graph]) > graph.facts.items:
        return None
    return graph.moved(moved, added, own)


def _queries(extended: LedCountry, extension: Extension) -> NDArray[np.float32]:
    """float32 [q, d + 1]: what random users of the workspace would ask with."""
    askers = extension.askers
    chosen = np.random.default_rng(extension.seed).permutation(len(askers))[: extension.index.queries]
    queries = np.ones((len(chosen), extended.indexes.vectors.shape[1]), np.float32)
    for place, user in enumerate(chosen.tolist()):
        rows = extended.items.rows_of(askers.history(user).items)
        queries[place] = user_vector(extended.indexes.vectors, rows, extended.length_power, extended.scales)
    queries[:, -1] = 1
    return queries
