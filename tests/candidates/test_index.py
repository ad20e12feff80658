"""Exact scans against sorting, and graphs against exact scans."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from candidates.config import IndexConfig
from candidates.errors import CandidatesError
from candidates.index import (
    NEVER,
    WIDE_SHARE,
    GraphIndex,
    MerchantIndexes,
    build_graph,
    exact_search,
    marked,
    surely,
)
from candidates.index.building import seconds_of
from tests.support.vectors import clustered, queries_like

NONE = np.empty(0, np.int32)


@settings(deadline=None, max_examples=100)
@given(
    st.integers(1, 30), st.integers(1, 40), st.sets(st.integers(0, 29)), st.sets(st.integers(0, 29)), st.integers(0, 99)
)
def test_an_exact_search_is_a_stable_sort_without_the_excluded_and_the_unavailable(
    rows: int, k: int, excluded: set[int], unavailable: set[int], seed: int
) -> None:
    """Small whole numbers make many ties, which fall to the first row."""
    rng = np.random.default_rng(seed)
    vectors = rng.integers(-2, 3, (rows, 4)).astype(np.float32)
    vectors[[row for row in unavailable if row < rows], -1] = NEVER
    query = np.array([1, 2, -1, 1], np.float32)
    left_out = np.array(sorted(row for row in excluded if row < rows), np.int64)
    found, scores = exact_search(vectors, query, k, left_out)
    usable = [row for row in range(rows) if row not in excluded and row not in unavailable]
    expected = sorted(usable, key=lambda row: (-float(vectors[row] @ query), row))[:k]
    assert found.tolist() == expected
    np.testing.assert_allclose(scores, vectors[expected] @ query)


@pytest.mark.parametrize("spread", [0.0, 0.7])
def test_a_graph_reaches_its_recall_keeps_it_after_loading_and_reports_it(spread: float, tmp_path: Path) -> None:
    vectors = clustered(4_000, 24, spread)
    vectors[::10, -1] = NEVER
    config = IndexConfig(recall=0.95, recall_at=50, timed=False)
    built = build_graph(vectors, queries_like(vectors, 100), config, seed=0)
    assert built is not None
    assert built.facts.recall >= 0.95
    assert built.facts.items + built.facts.scanned == 3_600
    assert (built.facts.scanned > 100) == (spread > 0)
    assert built.facts.reachable >= 0.99 * built.facts.items
    built.save(tmp_path, "graph")
    loaded = GraphIndex.load(tmp_path, "graph", vars(built.facts), vectors)
    recalls = []
    for query in queries_like(vectors, 200, seed=7):
        found = loaded.search(query, 50, NONE)
        assert found is not None
        rows, scores = found
        assert (vectors[rows, -1] != NEVER).all()
        np.testing.assert_allclose(scores, vectors[rows] @ query, rtol=1e-3, atol=2e-2)
        recalls.append(len(np.intersect1d(rows, exact_search(vectors, query, 50)[0])) / 50)
    assert np.mean(recalls) >= 0.92


def test_a_recall_is_promised_for_other_queries_than_those_it_was_measured_on() -> None:
    assert surely(np.ones(50)) == 1
    assert surely(np.array([0.9])) == 0.9
    rng = np.random.default_rng(0)
    held = [surely((rng.random(500) < 0.9).astype(float)) <= 0.9 for _ in range(2_000)]
    assert 0.92 <= np.mean(held) <= 0.97


def test_excluded_rows_are_made_up_for_by_the_next_best() -> None:
    vectors = clustered(3_000, 16, 0.3)
    graph = build_graph(vectors, queries_like(vectors, 60), IndexConfig(timed=False))
    assert graph is not None
    query = queries_like(vectors, 1, seed=5)[0]
    excluded = exact_search(vectors, query, 40)[0]
    found = graph.search(query, 30, excluded)
    assert found is not None
    assert len(found[0]) == 30
    assert not np.isin(found[0], excluded).any()


def test_more_than_a_graph_reaches_is_answered_by_the_exact_scan() -> None:
    vectors = clustered(500, 8, 0.2)
    graph = build_graph(vectors, queries_like(vectors, 40), IndexConfig(timed=False))
    assert graph is not None
    indexes = MerchantIndexes(vectors, {0: graph})
    query = queries_like(vectors, 1, seed=2)[0]
    found = indexes.search(0, 0, 500, query, 10_000, NONE)
    assert found.items.tolist() == exact_search(vectors, query, 500)[0].tolist()


def test_a_recall_that_no_graph_reaches_means_no_graph() -> None:
    """Random directions in many dimensions and hardly any links: the scan serves."""
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((3_000, 64)).astype(np.float32)
    config = IndexConfig(links=2, ef_construction=2, recall=1.0)
    assert build_graph(vectors, queries_like(vectors, 50), config) is None


@pytest.mark.parametrize(("groups", "size"), [(3, 1_000), (20, 300)])
def test_of_equal_rows_one_is_in_the_graph_and_all_are_found(groups: int, size: int, tmp_path: Path) -> None:
    vectors = clustered(groups * size + 4_000, 24, 0.2)
    equal = np.random.default_rng(3).permutation(len(vectors))[: groups * size].reshape(groups, size)
    vectors[equal] = vectors[equal[:, :1]]
    built = build_graph(vectors, queries_like(vectors, 100), IndexConfig(timed=False))
    assert built is not None
    assert built.facts.copies >= 0.9 * groups * (size - 1)
    assert built.facts.items + built.facts.copies + built.facts.scanned == len(vectors)
    built.save(tmp_path, "graph")
    loaded = GraphIndex.load(tmp_path, "graph", vars(built.facts), vectors)
    queries = queries_like(vectors, 60, seed=6)
    best = [exact_search(vectors, query, 50)[0] for query in queries]
    assert loaded.recalls_of(queries, best).mean() >= 0.93
    query = 9 * vectors[equal[0, 0]]
    query[-1] = 1
    found, excluded = loaded.search(query, 50, NONE), exact_search(vectors, query, 20)[0]
    assert found is not None
    np.testing.assert_allclose(found[1], vectors[found[0]] @ query, rtol=1e-3, atol=2e-2)
    assert len(np.intersect1d(found[0], exact_search(vectors, query, 50)[0])) >= 48
    rest = loaded.search(query, 30, excluded)
    assert rest is not None
    assert len(rest[0]) == 30 and not np.isin(rest[0], excluded).any()


def test_a_copy_stands_in_for_a_retired_row_and_retired_copies_are_not_found() -> None:
    vectors = clustered(2_000, 16, 0.2)
    vectors[:, [0, -1]] *= 0.1
    vectors[100:200] = np.median(np.linalg.norm(vectors, axis=1)) * np.eye(16)[0]
    graph = build_graph(vectors, queries_like(vectors, 60), IndexConfig(timed=False))
    assert graph is not None
    query = np.eye(16, dtype=np.float32)[0]

    def found(index: GraphIndex) -> set[int]:
        answer = index.search(query, 100, NONE)
        assert answer is not None
        return set(answer[0].tolist()) & set(range(100, 200))

    assert found(graph) == set(range(100, 200))
    fewer = marked(graph, np.arange(100, 150), NONE)
    assert found(fewer) == set(range(150, 200))
    here = np.arange(2_000, dtype=np.int32)
    assert found(fewer.moved(here, np.arange(100, 110, dtype=np.int32), vectors)) == {
        *range(100, 110),
        *range(150, 200),
    }
    none = marked(fewer, np.arange(150, 200), NONE)
    assert not found(none)
    assert found(marked(none, NONE, np.array([150]))) == {150}


def test_a_graph_that_is_slower_than_a_scan_is_not_kept(monkeypatch) -> None:
    """Whatever its recall; the facts tell what one query in twenty falls short of."""
    vectors = clustered(3_000, 16, 0.3)
    queries = queries_like(vectors, 60)
    for of_graph, of_scan in ((1e-4, 2e-4), (2e-4, 1e-4)):
        monkeypatch.setattr("candidates.index.building.seconds_of", lambda *_, times=(of_graph, of_scan): times)
        kept = build_graph(vectors, queries, IndexConfig())
        assert (kept is not None) == (of_graph < of_scan)
        if kept is not None:
            recalls = kept.recalls_of(queries, [exact_search(vectors, query, 50)[0] for query in queries])
            assert kept.facts.recall_p5 == pytest.approx(np.quantile(recalls, 0.05))
            assert kept.facts.recall_p5 < kept.facts.recall


def test_searches_and_scans_are_timed() -> None:
    vectors = clustered(2_000, 16, 0.3)
    queries = queries_like(vectors, 20)
    graph = build_graph(vectors, queries, IndexConfig(timed=False))
    assert graph is not None
    assert all(0 < one < 0.1 for one in seconds_of(graph, vectors, queries))


def test_norms_that_spread_widely_need_no_scan_of_everything() -> None:
    """The largest norms are scanned beside a graph of the others; the same graph without that misses the recall."""
    vectors = clustered(12_000, 24, 1.0)
    queries = queries_like(vectors, 100)
    built = build_graph(vectors, queries, IndexConfig(recall=0.97, most_scanned=300, timed=False))
    assert built is not None
    assert 0 < built.facts.scanned <= 12_000 // WIDE_SHARE and built.facts.ef <= 200
    norms = np.linalg.norm(vectors, axis=1)
    assert norms[built.scanned].min() >= built.facts.largest_norm
    assert built.facts.items + len(built.scanned) == 12_000
    best = [exact_search(vectors, query, 50)[0] for query in queries_like(vectors, 100, seed=9)]
    assert built.recalls_of(queries_like(vectors, 100, seed=9), best).mean() >= 0.94


def test_a_graph_whose_rows_moved_answers_with_where_they_are_now_and_with_those_added(tmp_path: Path) -> None:
    before = clustered(3_000, 16, 0.3)
    graph = build_graph(before, queries_like(before, 60), IndexConfig(timed=False))
    assert graph is not None
    new = clustered(200, 16, 0.3, seed=8)
    added = np.sort(np.random.default_rng(2).choice(3_200, 200, replace=False)).astype(np.int32)
    rows = np.setdiff1d(np.arange(3_200), added).astype(np.int32)
    after = np.empty((3_200, 16), np.float32)
    after[rows], after[added] = before, new
    moved = graph.moved(rows, added, after)
    moved.save(tmp_path, "moved")
    queries = queries_like(after, 100, seed=4)
    best = [exact_search(after, query, 50)[0] for query in queries]
    for index in (moved, GraphIndex.load(tmp_path, "moved", vars(moved.facts), after)):
        assert index.recalls_of(queries, best).mean() >= 0.93
        for query in queries[:20]:
            found = index.search(query, 50, NONE)
            assert found is not None
            np.testing.assert_allclose(found[1], after[found[0]] @ query, rtol=1e-3, atol=2e-2)
            fresh = np.intersect1d(exact_search(after, query, 50)[0], added)
            assert np.isin(fresh, found[0]).all()  # what was added is scanned: none of it is missed
    with pytest.raises(CandidatesError, match=r"moved\.rows\.npy: expected rows from 0 to 3198"):
        GraphIndex.load(tmp_path, "moved", vars(moved.facts), after[:-1])


def test_a_graph_of_a_bundle_from_before_is_loaded(tmp_path: Path) -> None:
    """Such a bundle has the graph's file alone, with rows for labels, and facts without `scanned` and `width`."""
    import hnswlib

    vectors = clustered(800, 16, 0.1)
    graph = hnswlib.Index(space="ip", dim=16)
    graph.init_index(800, M=16, ef_construction=100, random_seed=0)
    graph.add_items(vectors, np.arange(800))
    graph.save_index(str(tmp_path / "3.hnsw"))
    facts = {"space": "ip", "items": 800, "reachable": 800, "ef": 400, "recall": 1.0, "recall_at": 50}
    loaded = GraphIndex.load(tmp_path, "3", facts | {"largest_norm": 9.0}, vectors)
    query = queries_like(vectors, 1)[0]
    found = loaded.search(query, 20, NONE)
    assert found is not None
    assert len(np.intersect1d(found[0], exact_search(vectors, query, 20)[0])) >= 17
    after = np.concatenate([vectors[:1], vectors])  # a new item before all others
    moved = loaded.moved(np.arange(1, 801, dtype=np.int32), np.array([0], np.int32), after)
    again = moved.search(query, 20, NONE)
    assert again is not None
    assert len(np.intersect1d(again[0], exact_search(after, query, 20)[0])) >= 17
    with pytest.raises(CandidatesError, match=r"3\.hnsw: expected the facts of a graph"):
        GraphIndex.load(tmp_path, "3", facts, vectors)


def test_a_broken_graph_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "broken.hnsw").write_bytes(b"not a graph")
    facts = {"space": "ip", "items": 9, "reachable": 9, "ef": 50, "recall": 1.0, "recall_at": 9, "largest_norm": 1.0}
    with pytest.raises(CandidatesError, match=r"broken\.hnsw"):
        GraphIndex.load(tmp_path, "broken", facts, np.zeros((9, 4), np.float32))
