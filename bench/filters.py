"""What a filter costs, and whether it keeps the recall: LED's search among what is left, against an exact scan of it.

    python bench/filters.py --json figures.json        100k items, about 2 minutes

One merchant of clustered random vectors (d = 100, an HNSW graph as training builds it), histories of 20. Filters let
pass 50 %, 10 %, 1 % or .1 % of the items: by price, which has nothing to do with vectors; by categories, which are
groups of clusters, those that the user's history lies in ("near") or others ("elsewhere"). Each user is asked without
and with the filter in turn, in one thread, five times; the fastest of each counts. Of a filter that no request has
asked before, `first_us` is what resolving it costs once, and `new_us` that user's first request with it.
"""

import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

sys.path.insert(0, str(Path(__file__).parents[1]))  # else bench/gateway.py is found for the package of that name

import numpy as np
import pyarrow as pa
import typer
from rich.table import Table
from vectors import DIMENSION, HISTORY, clustered_vectors, histories

from candidates.best_of.gbo import GlobalBestOf
from candidates.best_of.unknown_items import UnknownItems
from candidates.config import IndexConfig
from candidates.encoder import CountryItems
from candidates.index import MerchantIndexes, build_graph, exact_search
from candidates.led.source import LedCountry
from data.console import JsonOption, console, set_up_logging, write_figures
from data.filters import ItemFilters, item_filter
from data.items import ItemTable
from data.request import History, ItemFilter, Request
from data.schema import CATALOG_SCHEMA
from data.statistics import standard_error

K = 20
SHARES = (0.5, 0.1, 0.01, 0.001)
_LEVELS = 3
"""Of the category tree; each category has ten below it."""


def categories_of(vectors: np.ndarray, seed: int) -> np.ndarray:
    """int64 [n]: 0 to 999, by the nearest of a thousand random items; read as three digits, a path of three steps."""
    rng = np.random.default_rng(seed)
    pivots = vectors[rng.choice(len(vectors), 10**_LEVELS, replace=False), :DIMENSION]
    lengths = 0.5 * np.einsum("nd,nd->n", pivots, pivots)
    parts = np.array_split(vectors[:, :DIMENSION], max(len(vectors) // 4_096, 1))
    return np.concatenate([(part @ pivots.T - lengths).argmax(axis=1) for part in parts])


def path_of(category: int, steps: int = _LEVELS) -> str:
    return "/".join(f"{category:03d}"[:steps])


def catalog_of(categories: np.ndarray, seed: int) -> ItemTable:
    """Prices are uniform from 0 to 1,000."""
    count = len(categories)
    names = pa.array([f"item-{k:08d}" for k in range(count)])
    columns = {
        "item_id": names,
        "merchant_id": pa.repeat("shop", count),
        "category": pa.array([path_of(one) for one in categories.tolist()]),
        "price": pa.array(np.random.default_rng(seed).uniform(0, 1_000, count).astype(np.float32)),
        "title": names,
        "image_url": pa.repeat("", count),
        "available": pa.repeat(True, count),
    }
    return ItemTable.of(pa.table(columns, schema=CATALOG_SCHEMA))


def source_of(items: ItemTable, vectors: np.ndarray, seed: int, threads: int) -> LedCountry:
    queries = vectors[histories(vectors, IndexConfig().queries, seed + 1)].mean(axis=1)
    queries[:, -1] = 1
    graph = build_graph(vectors, queries, IndexConfig(), seed, threads)
    known = CountryItems.of(np.arange(len(items), dtype=np.int32), items)
    unknown = UnknownItems.of(known, GlobalBestOf.of(np.ones(len(items), np.float32), items))
    return LedCountry(known, MerchantIndexes(vectors, {} if graph is None else {0: graph}), 1.0, unknown)


def asked_of(
    kind: str, share: float, history: np.ndarray, categories: np.ndarray, rng: np.random.Generator
) -> ItemFilter:
    """A filter that lets about this share pass."""
    if kind == "price":
        low = rng.uniform(0, 1_000 * (1 - share))
        return item_filter(min_price=float(low), max_price=float(low + 1_000 * share))
    steps = 1 if share > 0.01 else 2 if share > 0.001 else 3
    own = [path_of(one, steps) for one in categories[history].tolist()]
    if kind == "near":
        first = max(set(own), key=own.count)
        others = [str(k) for k in rng.permutation(10) if str(k) != first[0]]
    else:
        beside = [path_of(int(one), steps) for one in rng.permutation(1_000)]
        first = next(one for one in beside if one not in own)
        others = [one for one in map(str, rng.permutation(10)) if one not in {*own, first[0]}]
    return item_filter([first, *others[: 4 if share == 0.5 else 0]])


def measure(
    source: LedCountry, items: ItemTable, categories: np.ndarray, kind: str, share: float, users: int, seed: int
) -> dict[str, Any]:
    """One kind of filter of one share."""
    rng, filters = np.random.default_rng(seed), ItemFilters(items)
    vectors = source.indexes.vectors
    nothing, times, first, new, recalls, passing, short = np.zeros(HISTORY), [], [], [], [], [], 0
    for history in histories(vectors, users, seed + 2):
        asked = asked_of(kind, share, history, categories, rng)
        plain = Request("", 0, "XX", 0, History(history, nothing.astype(np.int8), nothing.astype(np.int64)))
        started = time.perf_counter_ns()
        allowed = filters.allowed(0, asked)
        first.append((time.perf_counter_ns() - started) / 1e3)
        filtered = replace(plain, allowed=allowed)
        assert allowed is not None
        best = allowed.items[exact_search(vectors[allowed.items], source.query(plain), K)[0]]
        started = time.perf_counter_ns()
        found = source.propose(filtered, K).items
        new.append((time.perf_counter_ns() - started) / 1e3)
        assert allowed.passes(found).all()
        short += len(found) < min(K, len(allowed.items))
        recalls.append(len(np.intersect1d(found, best)) / max(len(best), 1))
        passing.append(len(allowed.items) / len(items))
        lap = [[], []]  # type: list[list[float]]
        for _ in range(5):
            for place, request in enumerate((plain, filtered)):
                started = time.perf_counter_ns()
                source.propose(request, K)
                lap[place].append((time.perf_counter_ns() - started) / 1e3)
        times.append([min(one) for one in lap])
    without, with_ = np.array(times).T
    return {
        "filter": kind,
        "share_asked": share,
        "share_passing": float(np.median(passing)),
        "users": users,
        "recall": float(np.mean(recalls)),
        "recall_se": standard_error(np.array(recalls)),
        "short": short,
        "unfiltered_us": float(np.median(without)),
        "filtered_us": float(np.median(with_)),
        "filtered_p95_us": float(np.quantile(with_, 0.95)),
        "ratio": float(np.median(with_) / np.median(without)),
        "first_us": float(np.median(first)),
        "new_us": float(np.median(new)),
    }


def main(
    items: Annotated[int, typer.Option(min=1_000)] = 100_000,
    users: Annotated[int, typer.Option(min=1, help="Asked for each filter.")] = 200,
    seed: int = 0,
    threads: Annotated[int, typer.Option(min=1, help="That build the graph.")] = 1,
    json_path: JsonOption = None,
) -> None:
    set_up_logging()
    vectors = clustered_vectors(items, seed)
    categories = categories_of(vectors, seed)
    table = catalog_of(categories, seed)
    source = source_of(table, vectors, seed, threads)
    rows = [
        measure(source, table, categories, kind, share, users, seed)
        for kind in ("price", "near", "elsewhere")
        for share in SHARES
    ]
    shown = Table(title=f"{items:,} items, recall@{K} of what is left; microseconds, medians")
    for name in ("filter", "passes", "recall", "without", "with", "ratio", "first time"):
        shown.add_column(name, justify="right")
    for row in rows:
        told = (f"{row['share_passing']:.2%}", f"{row['recall']:.3f}", f"{row['unfiltered_us']:.0f}")
        shown.add_row(
            row["filter"], *told, f"{row['filtered_us']:.0f}", f"{row['ratio']:.2f}", f"{row['first_us']:.0f}"
        )
    console.print(shown)
    graph = source.indexes.graphs.get(0)
    write_figures(
        json_path,
        {"items": items, "k": K, "seed": seed, "ef": None if graph is None else graph.facts.ef, "filters": rows},
    )


if __name__ == "__main__":
    typer.run(main)
