"""Filtered searches against exact scans of the rows that pass."""

import numpy as np
import pytest

from candidates.config import IndexConfig
from candidates.index import build_graph, exact_search, filtered, filtered_search
from tests.support.vectors import clustered, queries_like


class Rows:
    """The rows of a mask, as a filter."""

    def __init__(self, mask: np.ndarray) -> None:
        self._mask, self.count, self.key = mask, int(mask.sum()), mask.tobytes()

    def passes(self, rows: np.ndarray) -> np.ndarray:
        return self._mask[rows]

    def rows(self) -> np.ndarray:
        return np.flatnonzero(self._mask).astype(np.int32)


@pytest.mark.parametrize("share", [0.5, 0.1, 0.01, 0.001])
def test_a_filtered_search_finds_the_best_of_what_passes_with_and_without_its_graph(
    share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As though a search cost nothing, so that a graph this small is asked; rows that pass lie anywhere, or where the
    query does not look."""
    vectors, fetched = clustered(4_000, 24, 0.3), 0
    config = IndexConfig(recall=0.95, recall_at=50, timed=False)
    graph = build_graph(vectors, queries_like(vectors, 100), config, seed=0)
    assert graph is not None
    real = filtered._fetched

    def counted(*given: object) -> object:
        nonlocal fetched
        found = real(*given)  # type: ignore[arg-type]
        fetched += found is not None
        return found

    monkeypatch.setattr(filtered, "_fetched", counted)
    monkeypatch.setattr(filtered, "_GATHERED_PER_STEP", 0.1)
    rng = np.random.default_rng(3)
    for query in queries_like(vectors, 20, seed=5):
        anywhere = rng.random(len(vectors)) < share
        elsewhere = vectors @ query < np.quantile(vectors @ query, share)
        for mask in (anywhere, elsewhere):
            left_out = np.flatnonzero(mask)[:3].astype(np.int32)
            possible = np.flatnonzero(mask)[3:]
            best = possible[exact_search(vectors[possible], query, 20)[0]]
            exactly, scores = filtered_search(None, vectors, query, 20, left_out, Rows(mask))
            assert exactly.tolist() == best.tolist()
            np.testing.assert_allclose(scores, vectors[best] @ query, rtol=1e-4, atol=1e-5)
            found, _ = filtered_search(graph, vectors, query, 20, left_out, Rows(mask))
            assert len(found) == len(best) and mask[found].all() and not np.isin(found, left_out).any()
            assert len(np.intersect1d(found, best)) >= 0.8 * len(best)
    assert fetched >= 20 or share < 0.1


def test_the_rows_of_a_filter_that_is_asked_again_are_kept_within_their_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = clustered(3_000, 8, 0.3)
    monkeypatch.setattr(filtered, "_FEW", 10)
    monkeypatch.setattr(filtered, "KEPT_BYTES", 3 * 1_000 * vectors.shape[1] * 4)
    rng, kept = np.random.default_rng(0), filtered.SideBySide()
    masks = [rng.random(len(vectors)) < 0.3 for _ in range(12)]
    for turn in range(60):
        mask = masks[turn // 3 % len(masks)]
        query = queries_like(vectors, 1, seed=turn)[0]
        left_out = np.flatnonzero(mask)[rng.integers(0, 500, 4)].astype(np.int32)
        possible = np.setdiff1d(np.flatnonzero(mask), left_out)
        best = possible[exact_search(vectors[possible], query, 20)[0]]
        found, scores = filtered_search(None, vectors, query, 20, np.unique(left_out), Rows(mask), kept)
        np.testing.assert_allclose(scores, vectors[best] @ query, rtol=1e-4, atol=1e-5)
        assert mask[found].all() and not np.isin(found, left_out).any()
        held = [one[1].nbytes for one in kept._kept.values() if one is not None]
        assert sum(held) == kept._bytes <= filtered.KEPT_BYTES and (len(held) >= 2 or turn < 6)
