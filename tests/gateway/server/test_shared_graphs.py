"""A bundle's graphs are in memory once, however many workers there are."""

import json
import os
from pathlib import Path

import hnswlib
import numpy as np
import psutil
import pytest

from candidates.best_of.unknown_items import UnknownItems
from candidates.encoder import CountryItems
from candidates.index import GraphFacts, GraphIndex, MerchantIndexes, held_graphs
from candidates.led.source import LedCountry
from data.workspace import Workspace
from gateway.server.sharing import forget_graphs, has_graphs, hold_graphs
from tests.support.gateway.gateway_process import C_USER, GatewayProcess, context
from tests.support.gateway.stand_ins import make_bundle

ROWS, WIDTH = 20_000, 64
GRAPH_BYTES = ROWS * WIDTH * 4
"""Less than it takes."""


def save_country(bundle: Path) -> None:
    """A country's model of one merchant that has a graph."""
    vectors = np.random.default_rng(0).normal(size=(ROWS, WIDTH)).astype(np.float32)
    graph = hnswlib.Index(space="ip", dim=WIDTH)
    graph.init_index(ROWS, ef_construction=10, M=4)
    graph.add_items(vectors, num_threads=1)
    facts = GraphFacts("ip", ROWS, ROWS, 50, 1.0, 20, 1.0, WIDTH)
    nothing = np.empty(0, np.int32)
    index = GraphIndex(graph, facts, None, nothing, vectors[:0])
    known = np.arange(ROWS, dtype=np.int32)
    items = CountryItems(known, known, np.array([0, ROWS]))
    unknown = UnknownItems(nothing, np.zeros(2, np.int64))
    LedCountry(items, MerchantIndexes(vectors, {0: index}), 1.0, unknown).save(bundle / "candidates/led/0", {})


def private_bytes() -> int:
    return int(psutil.Process().memory_full_info().uss)


def in_a_child(bundle: Path) -> tuple[int, list[int]]:
    """(Bytes of its own that a forked process gains as it loads the model, the rows that it finds)."""
    reading, writing = os.pipe()
    if os.fork() == 0:
        try:
            before = private_bytes()
            (index,) = LedCountry.load(bundle / "candidates/led/0").indexes.graphs.values()
            found = index.search(np.ones(WIDTH, np.float32), 10, np.empty(0, np.int64))
            assert found is not None
            os.write(writing, json.dumps([private_bytes() - before, found[0].tolist()]).encode())
        finally:
            os._exit(0)  # whatever failed: no second run of the tests goes on here
    os.close(writing)
    with os.fdopen(reading) as told:
        gained, rows = json.load(told)
    os.wait()
    return gained, rows


def test_a_graph_that_was_read_before_the_fork_costs_a_child_no_memory_and_finds_the_same(tmp_path: Path) -> None:
    save_country(tmp_path)
    alone, rows = in_a_child(tmp_path)
    hold_graphs(tmp_path)
    shared, same = in_a_child(tmp_path)
    assert same == rows and alone > GRAPH_BYTES and shared < alone / 4
    forget_graphs([tmp_path])
    assert len(held_graphs) == 1
    forget_graphs([])
    assert not held_graphs


@pytest.mark.slow
def test_graphs_are_read_once_a_first_worker_has_tried_them_and_a_damaged_one_costs_their_sharing(
    tmp_path: Path,
) -> None:
    place = Workspace(tmp_path / "w")
    bundle = make_bundle(place, spoil=lambda catalog: save_country(catalog.parent))
    assert has_graphs(bundle.path)
    with GatewayProcess(place.root, workers=2) as gateway, gateway.client() as client:
        assert len(client.get_banner(context(C_USER), slots=3).slots) == 3
        assert len(gateway.answering()) == 2 and "share no graphs" not in gateway.said()

        def damage(catalog: Path) -> None:
            save_country(catalog.parent)
            (catalog.parent / "candidates/led/0/0.hnsw").write_bytes(b"no graph")

        damaged = make_bundle(place, spoil=damage)
        gateway.wait_for("its workers share no graphs")
        gateway.wait_for(f"bundle {damaged.version} is in service")
        assert len(client.get_banner(context(C_USER), slots=3).slots) == 3
