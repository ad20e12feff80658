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
from candidates.index import NEVER, build_graph
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
    known = before[:, -1] > NEVER / 2
    popularity = extension.popularity
    of_known, wanted = popularity[diff.moved[source.items.items]], popularity[items.items[added]]
    vectors = LedVectors(grown, np.ones(len(grown), np.float32), np.zeros(len(grown), np.float32), source.length_power)
    vectors.biases[rows] = before[:, -1]
    vectors.biases[added] = by_popularity(before[known, -1], of_known[known], wanted)
    if source.scales is not None:
        vectors.scales[rows] = source.scales
        vectors.scales[added] = np.exp(by_popularity(np.log(source.scales), of_known, wanted))
    unknown = UnknownItems.of(items, GlobalBestOf.of(popularity, diff.after))
    extended = LedCountry.of(vectors, items, diff.after, unknown)
    _extend_graphs(source, extended, rows, extension)
    facts = extended.save(new, read_json(old / "led.json").get("made", {}))
    return {"graphs": {diff.after.merchants.id(int(merchant)): found for merchant, found in facts.items()}}


def _extend_graphs(source: LedCountry, extended: LedCountry, rows: NDArray[np.int32], extension: Extension) -> None:
    """Each merchant's graph with its new rows scanned beside it, its width measured again; built anew where they are
    more than a graph may have beside it, where the recall is missed, and where a merchant has outgrown the scan."""
    diff, config = extension.diff, extension.index
    before = {int(diff.merchants[merchant]): graph for merchant, graph in source.indexes.graphs.items()}
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
            added = np.setdiff1d(np.arange(end - start), moved).astype(np.int32)
            added = added[own[added, -1] > NEVER / 2]
            if len(added) <= config.most_scanned:
                graph = before[merchant].moved(moved, added, own).calibrated(own, queries, config.recall)
        graph = graph or build_graph(own, queries, config, extension.seed, extension.threads)
        if graph is not None:
            extended.indexes.graphs[merchant] = graph


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
