"""The paper's Table 4 for the retrieval service: user vector, nearest items, the whole call; p50, p99, most calls/s.

    python bench/retrieval.py                                        10k and 100k items, about 5 minutes
    python bench/retrieval.py --items 1000000 --seconds 8 --json figures.json

For each catalogue size a bundle with LED alone is made of clustered random vectors (d = 100, one merchant) and sealed.
The real gateway serves it; client processes, several calls in flight each, ask GetCandidates for 50 items with
histories of 20. Beside it in the same run, with the same clients: an echo server of the same stack and as many
workers, which answers every call with the bytes of one ready answer. The search alone is timed in this process, beside
those of faiss and usearch where they are installed (bench/knn.py says how; --no-rivals leaves them out).
"""

import json
import os
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

sys.path.insert(0, str(Path(__file__).parents[1]))  # else bench/gateway.py is found for the package of that name

import grpc
import numpy as np
import pyarrow as pa
import typer
from grpc_load import CANDIDATES, echoed, percentiles, spread, under_load
from knn import compare
from rich.table import Table
from vectors import DIMENSION, HISTORY, clustered_vectors, histories

from candidates.best_of.gbo import GlobalBestOf
from candidates.best_of.unknown_items import UnknownItems
from candidates.config import CandidatesConfig, IndexConfig
from candidates.encoder import CountryItems, write_countries
from candidates.index import build_graph, exact_search
from candidates.led.source import LedCountry
from candidates.sources import load_sources
from data.bundle import Bundle, BundleDraft, publish
from data.console import JsonOption, console, set_up_logging, write_figures
from data.files import write_text_atomically
from data.items import ItemTable
from data.request import History, Request
from data.schema import CATALOG_SCHEMA
from data.workspace import Origin, Workspace
from gateway.demo.server import running_gateway
from proto.tandem.v1 import tandem_pb2 as pb
from proto.tandem.v1 import tandem_pb2_grpc as rpc

K, QUERIES = 50, 2_000
_POPULATIONS = "experiment: retrieval\nsalt: retrieval\npopulations:\n  A: {share: 1.0, sources: [led]}\n"


def make_bundle(root: Path, items: int, seed: int) -> tuple[Workspace, dict[str, Any]]:
    """A workspace whose bundle in service holds LED alone; and what was measured while its index was built."""
    place = Workspace(root)
    root.mkdir(parents=True)
    write_text_atomically(
        place.root / "origin.json", _json(vars(Origin("clustered random vectors", True, "", 0, items)))
    )
    names = pa.array([f"item-{k:08d}" for k in range(items)])
    columns = {
        "item_id": names,
        "merchant_id": pa.array(["shop"] * items),
        "category": pa.array([""] * items),
        "price": pa.nulls(items, pa.float32()),
        "title": names,
        "image_url": pa.array([""] * items),
        "available": pa.array([True] * items),
    }
    catalog = ItemTable.of(pa.table(columns, schema=CATALOG_SCHEMA))
    vectors = clustered_vectors(items, seed)
    index, config = IndexConfig(), CandidatesConfig(sources=("led",))
    asked = histories(vectors, index.queries, seed + 1)
    queries = vectors[asked].mean(axis=1)
    queries[:, -1] = 1
    with BundleDraft(place) as draft:
        catalog.save(draft.folder("catalog"))
        led = draft.folder("candidates") / "led"
        write_countries(led, ["XX"])
        known = CountryItems.of(np.arange(items, dtype=np.int32), catalog)
        known.save(led / "0")
        UnknownItems.of(known, GlobalBestOf.of(np.ones(items, np.float32), catalog)).save(led / "0")
        np.save(led / "0" / "vectors.npy", vectors)
        started = time.perf_counter()
        graph = build_graph(vectors, queries, index, seed, os.cpu_count() or 1) if items > index.exact_up_to else None
        facts: dict[str, Any] = {"build_seconds": time.perf_counter() - started, "recall": 1.0, "ef": None}
        graphs = {}
        if graph is not None:
            graph.save(led / "0", "0")
            graphs["0"] = asdict(graph.facts)
            facts |= {"recall": graph.facts.recall, "ef": graph.facts.ef}
        write_text_atomically(led / "0" / "led.json", _json({"length_power": 1.0, "graphs": graphs}))
        described = {"sources": ["led"], "config": config.model_dump(mode="json"), "seed": seed}
        write_text_atomically(led.parent / "config.json", _json(described))
        publish(place, draft.seal())
    return place, facts


def _json(value: Any) -> str:
    return json.dumps(value, default=list) + "\n"


def in_process(place: Workspace, seed: int) -> dict[str, Any]:
    """Microseconds of the user vector and of the search, one thread; the recall of the search against a scan."""
    bundle = Bundle.open(place.current, verify=False)
    catalog = ItemTable.load(bundle.catalog)
    source = load_sources(bundle, catalog)["led"]
    country: LedCountry = source._countries["XX"]
    vectors = country.indexes.vectors
    asked = histories(vectors, 500, seed + 2)
    nothing = np.empty(0, np.int32)
    vector_us, search_us, hits = [], [], 0
    for number in range(QUERIES):
        items = asked[number % len(asked)]
        history = History(items, np.zeros(HISTORY, np.int8), np.zeros(HISTORY, np.int64))
        request = Request("", 0, "XX", 0, history)
        started = time.perf_counter_ns()
        query = country.query(request)
        between = time.perf_counter_ns()
        found = country.indexes.search(0, 0, len(vectors), query, K, nothing)
        search_us.append((time.perf_counter_ns() - between) / 1e3)
        vector_us.append((between - started) / 1e3)
        if number < 200:
            best, _ = exact_search(vectors, query, K)
            hits += len(np.intersect1d(best, found.items))
    return {
        "user_vector_us": percentiles(vector_us),
        "search_us": percentiles(search_us),
        "recall": hits / 200 / K,
    }


def measure(
    items: int, seed: int, workers: int, seconds: float, clients: int, in_flight: int, rivals: bool
) -> dict[str, Any]:
    """Everything about one catalogue size."""
    with tempfile.TemporaryDirectory(prefix="tandem-") as scratch:
        place, facts = make_bundle(Path(scratch) / "workspace", items, seed)
        populations = Path(scratch) / "populations.yaml"
        populations.write_text(_POPULATIONS)
        figures = facts | in_process(place, seed)
        vectors = load_vectors(place)
        figures["searchers"] = compare(vectors, K, seed=seed, threads=os.cpu_count() or 1, ours=False) if rivals else {}
        requests = [
            pb.GetCandidatesRequest(
                context=pb.Context(
                    merchant_id="shop", country="XX", history=pb.History(item_ids=[f"item-{k:08d}" for k in one])
                ),
                k=K,
                sources=["led"],
            ).SerializeToString()
            for one in histories(vectors, 200, seed + 3).tolist()
        ]
        load = (CANDIDATES, requests, seconds, clients * in_flight, None, clients)
        with running_gateway(place, populations, workers) as address:
            with grpc.insecure_channel(address) as channel:
                stub = rpc.CandidateServiceStub(channel)
                answer = stub.GetCandidates(pb.GetCandidatesRequest.FromString(requests[0]))
            if len(answer.sources[0].item_ids) != K:
                raise RuntimeError(f"the gateway answered {len(answer.sources[0].item_ids)} items; expected {K}")
            figures["one_call"] = under_load(spread(address, CANDIDATES, requests, min(seconds, 3.0), 1))[0]
            figures["call"] = under_load(spread(address, *load))[0]
        figures["echo"] = echoed(answer.SerializeToString(), workers, *load)
        return figures


def load_vectors(place: Workspace) -> np.ndarray:
    return np.load(place.current / "candidates" / "led" / "0" / "vectors.npy", mmap_mode="r", allow_pickle=False)


def main(
    items: Annotated[list[int] | None, typer.Option(min=1_000, help="Repeat to compare. [10,000 and 100,000]")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Of the gateway, and of the echo server.")] = 2,
    clients: Annotated[int, typer.Option(min=1, help="Client processes.")] = 2,
    in_flight: Annotated[int, typer.Option(min=1, help="Calls of each client at once.")] = 4,
    seconds: Annotated[float, typer.Option(min=1, max=60)] = 5.0,
    rivals: Annotated[
        bool, typer.Option(help="Time faiss' and usearch's searches too, where they are installed.")
    ] = True,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    json_file: JsonOption = None,
) -> None:
    """Print Table 4 for each catalogue size."""
    set_up_logging()
    figures = {}
    for count in items or [10_000, 100_000]:
        figures[str(count)] = measure(count, seed, workers, seconds, clients, in_flight, rivals)
        console.print(_table(count, figures[str(count)], workers))
    write_figures(json_file, figures)


def _table(items: int, found: dict[str, Any], workers: int) -> Table:
    table = Table(
        title=f"{items:,} items, d = {DIMENSION}, k = {K}, recall@{K} {found['recall']:.3f} (ef {found['ef']}); "
        f"{workers} workers, {found['call']['in_flight']} calls of {found['call']['clients']} clients, same cores"
    )
    for name in ("", "p50 µs", "p99 µs", "calls/s"):
        table.add_column(name, justify="right" if name else "left")
    rows = {"user vector": found["user_vector_us"], "nearest items": found["search_us"]}
    for name, one in found["searchers"].items():
        rows[f"{name} alone, recall {one['recall']:.3f}"] = one
    rows |= {"one call at a time": found["one_call"], "the whole call, loaded": found["call"], "echo": found["echo"]}
    for name, one in rows.items():
        table.add_row(name, f"{one['p50']:,.0f}", f"{one['p99']:,.0f}", f"{one['qps']:,.0f}" if "qps" in one else "")
    share = found["call"]["qps"] / found["echo"]["qps"]
    table.caption = f"the service answers {share:.0%} of the echo server's calls per second"
    return table


if __name__ == "__main__":
    typer.run(main)
