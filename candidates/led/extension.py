"""LED with new items: vectors between those it has, and every merchant's index extended."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from candidates.best_of.gbo import GlobalBestOf
from candidates.best_of.unknown_items import UnknownItems
from candidates.cold_start.extension import Extension, with_new_vectors
from candidates.cold_start.vectors import biases_by_popularity
from candidates.encoder import CountryItems, read_countries, user_vector
from candidates.index import NEVER, GraphIndex, build_graph, inverse_norms, save_graphs
from candidates.led.source import LedCountry


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
    vectors = np.column_stack([grown, np.zeros(len(grown), np.float32)])
    vectors[rows, -1] = before[:, -1]
    added = np.setdiff1d(np.arange(len(vectors)), rows)
    known = before[:, -1] > NEVER / 2
    popularity = extension.popularity
    vectors[added, -1] = biases_by_popularity(
        before[known, -1], popularity[diff.moved[source.items.items[known]]], popularity[items.items[added]]
    )
    vectors[added[~np.asarray(diff.after.available)[items.items[added]]], -1] = NEVER
    items.save(new)
    UnknownItems.of(items, GlobalBestOf.of(extension.popularity, extension.diff.after)).save(new)
    np.save(new / "vectors.npy", vectors)
    np.save(new / "inverse_norms.npy", inverse_norms(vectors))
    graphs = _extended_graphs(source, items, rows, vectors, extension)
    facts = save_graphs(new, graphs, lambda merchant: vectors[slice(*items.slice_of(merchant))])
    (new / "led.json").write_text(json.dumps({"length_power": source.length_power, "graphs": facts}) + "\n")
    return {"graphs": {diff.after.merchants.id(int(merchant)): found for merchant, found in facts.items()}}


def _extended_graphs(
    source: LedCountry,
    items: CountryItems,
    rows: NDArray[np.int32],
    vectors: NDArray[np.float32],
    extension: Extension,
) -> dict[int, GraphIndex]:
    """Each merchant's graph with its new rows scanned beside it, its width measured again; built anew where they are
    more than a graph may have beside it, where the recall is missed, and where a merchant has outgrown the scan."""
    diff, config = extension.diff, extension.index
    before = {int(diff.merchants[merchant]): graph for merchant, graph in source.indexes.graphs.items()}
    graphs: dict[int, GraphIndex] = {}
    queries: NDArray[np.float32] | None = None
    for merchant in range(len(diff.after.merchants)):
        start, end = items.slice_of(merchant)
        if end - start <= config.exact_up_to:
            continue
        if queries is None:
            queries = _queries(source.length_power, items, vectors, extension)
        own, graph = vectors[start:end], None
        if merchant in before:
            moved = rows[(rows >= start) & (rows < end)] - start
            added = np.setdiff1d(np.arange(end - start), moved).astype(np.int32)
            added = added[own[added, -1] > NEVER / 2]
            if len(added) <= config.most_scanned:
                graph = before[merchant].moved(moved, added, own).calibrated(own, queries, config.recall)
        graph = graph or build_graph(own, queries, config, extension.seed, extension.threads)
        if graph is not None:
            graphs[merchant] = graph
    return graphs


def _queries(
    length_power: float, items: CountryItems, vectors: NDArray[np.float32], extension: Extension
) -> NDArray[np.float32]:
    """float32 [q, d + 1]: what random users of the workspace would ask with."""
    askers = extension.askers
    chosen = np.random.default_rng(extension.seed).permutation(len(askers))[: extension.index.queries]
    queries = np.empty((len(chosen), vectors.shape[1]), np.float32)
    for place, user in enumerate(chosen.tolist()):
        queries[place] = user_vector(vectors, items.rows_of(askers.history(user).items), length_power)
    queries[:, -1] = 1
    return queries
