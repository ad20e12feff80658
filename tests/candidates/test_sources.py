"""Every source behind the one interface: what it may propose, and to whom."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from candidates.best_of.gbo import GlobalBestOf
from candidates.errors import CandidatesError
from candidates.index import MerchantIndexes, exact_search
from candidates.led.source import Led
from candidates.sources import SOURCES, load_sources_from
from data.errors import TandemError
from data.request import NO_FILTER, Allowed, History, Request
from data.timelines import Timelines

NOW = 1_800_000_000_000_000


def history_of(items: list[int]) -> History:
    count = len(items)
    return History(np.array(items, np.int32), np.zeros(count, np.int8), np.full(count, NOW - 1, np.int64))


@pytest.fixture(scope="module")
def sources(trained: Any) -> Any:
    return load_sources_from(trained.folder, trained.items)


@settings(deadline=None, max_examples=120)
@given(
    name=st.sampled_from(list(SOURCES)),
    merchant=st.integers(-2, 4),
    country=st.sampled_from(["AA", "BB", "nowhere", ""]),
    k=st.sampled_from([0, 1, 7, 50, 10_000]),
    history=st.lists(st.integers(0, 549), max_size=20),
    exclude=st.lists(st.integers(0, 549), max_size=300),
)
def test_a_proposal_keeps_the_contract(
    trained: Any, sources: Any, name: str, merchant: int, country: str, k: int, history: list[int], exclude: list[int]
) -> None:
    """The merchant's own items, available, not excluded, none twice, at most k, scores not increasing."""
    items = trained.items
    left_out = np.array(exclude, np.int32)
    found = sources[name].propose(Request("u", merchant, country, NOW, history_of(history), exclude=left_out), k)
    assert found.items.dtype == np.int32
    assert found.scores.dtype == np.float32
    assert len(found.items) == len(found.scores) <= k
    assert len(np.unique(found.items)) == len(found)
    assert (np.diff(found.scores) <= 0).all()
    assert not np.isin(found.items, left_out).any()
    if not 0 <= merchant < len(items.merchants):
        assert len(found) == 0
        return
    own = np.arange(len(items))[items.slice_of(merchant)]
    assert np.isin(found.items, own).all()
    assert items.available[found.items].all()
    possible = (items.available[own] & ~np.isin(own, left_out)).sum()
    assert len(found) == min(k, possible)


@settings(deadline=None, max_examples=80)
@given(
    name=st.sampled_from(list(SOURCES)),
    merchant=st.integers(0, 2),
    k=st.sampled_from([1, 7, 50]),
    history=st.lists(st.integers(0, 549), max_size=20),
    exclude=st.lists(st.integers(0, 549), max_size=100),
    share=st.sampled_from([0.0, 0.02, 0.3, 0.9]),
    seed=st.integers(0, 9),
)
def test_a_filter_takes_items_out_of_a_proposal_and_leaves_the_order_of_the_others(
    trained: Any, sources: Any, name: str, merchant: int, k: int, history: list[int], exclude: list[int], share: float,
    seed: int,
) -> None:  # fmt: skip
    items, left_out = trained.items, np.array(exclude, np.int32)
    own = items.slice_of(merchant)
    mask = (np.random.default_rng(seed).random(own.stop - own.start) < share) & items.available[own]
    allowed = Allowed(NO_FILTER, own.start, mask, np.flatnonzero(mask).astype(np.int32) + np.int32(own.start))
    asked = Request("u", merchant, "AA", NOW, history_of(history), exclude=left_out)
    found = sources[name].propose(replace(asked, allowed=allowed), k)
    whole = sources[name].propose(asked, len(items))
    passing = allowed.passes(whole.items)
    assert allowed.passes(found.items).all() and not np.isin(found.items, left_out).any()
    np.testing.assert_allclose(found.scores, whole.scores[passing][:k], rtol=1e-4, atol=1e-5)
    if name != "led":  # two sums in another order may differ in the last digit, and so may two of its neighbours
        assert found.items.tolist() == whole.items[passing][:k].tolist()


def test_a_user_without_history_gets_the_best_of_from_gbo_and_cbo_and_the_highest_biases_from_led(
    trained: Any, sources: Any
) -> None:
    request = Request("new", 1, "AA", NOW)
    best = sources["gbo"].propose(request, 20).items
    assert sources["cbo"].propose(request, 20).items.tolist() == best.tolist()
    assert isinstance(sources["led"], Led)
    folder = trained.folder / "led" / "0"
    vectors, known = np.load(folder / "vectors.npy"), np.load(folder / "items.npy")
    own = np.flatnonzero(np.isin(known, np.arange(len(trained.items))[trained.items.slice_of(1)]))
    highest = own[np.argsort(-vectors[own, -1], kind="stable")[:20]]
    assert sources["led"].propose(request, 20).items.tolist() == known[highest].tolist()


def test_a_user_without_history_gets_the_highest_biases_from_a_merchant_with_a_graph_too(
    trained: Any, sources: Any
) -> None:
    """No training user asks with a bias alone: the graph's recall for such a query is not what it was built to."""
    country = sources["led"].country("AA")
    assert list(country.indexes.graphs) == [2]
    start, end = country.items.slice_of(2)
    biases = country.indexes.vectors[start:end, -1]
    own = country.items.items[start:end]
    best = own[np.argsort(-biases, kind="stable")]
    for exclude in ([], best[[0, 3, 4]].tolist()):
        request = Request("new", 2, "AA", NOW, exclude=np.array(exclude, np.int32))
        found = sources["led"].propose(request, 50)
        assert found.items.tolist() == best[~np.isin(best, exclude)][:50].tolist()
        np.testing.assert_array_equal(found.scores, np.sort(biases[~np.isin(own, exclude)])[::-1][:50])
    bare = MerchantIndexes(country.indexes.vectors, country.indexes.graphs)  # nothing kept: the scan answers
    query = country.query(Request("new", 2, "AA", NOW))
    nobody = np.empty(0, np.int32)
    one, other = (index.search(2, start, end, query, 50, nobody) for index in (bare, country.indexes))
    assert one.items.tolist() == other.items.tolist()


def test_items_that_leds_country_does_not_know_stand_behind_those_it_knows_the_most_popular_first(
    trained: Any, sources: Any
) -> None:
    order = sources["gbo"].best(2, 10_000)
    for country in ("AA", "BB"):
        led = sources["led"]._countries[country]
        known = np.asarray(led.items.rows) >= 0
        found = sources["led"].propose(Request("u", 2, country, NOW, history_of([160, 166, 172])), len(order))
        own = known[found.items]
        count = int(own.sum())
        assert 0 < count < len(found)
        assert own[:count].all()
        assert found.items[count:].tolist() == order[~known[order]].tolist()
        assert (found.scores[count:] <= 0).all()


def test_an_unknown_country_is_answered_by_the_largest_countrys_model(trained: Any, sources: Any) -> None:
    assert trained.metrics["countries"] == ["AA", "BB"]
    for name in ("cbo", "led"):
        asked = [Request("u", 1, country, NOW, history_of([3, 9, 33, 69])) for country in ("AA", "elsewhere")]
        one, other = (sources[name].propose(request, 10) for request in asked)
        assert one.items.tolist() == other.items.tolist()


def test_personal_sources_learn_the_made_up_tastes(trained: Any, sources: Any) -> None:
    """Items of one taste share a remainder; a history of that taste must bring more of it than the best-of does."""
    own = np.arange(len(trained.items))[trained.items.slice_of(1)]
    for name in ("cbo", "led"):
        shares = []
        for taste in range(6):
            seen = [taste + 6 * step for step in range(0, 80, 9)]
            found = sources[name].propose(Request("u", 1, "AA", NOW, history_of(seen)), 10).items
            shares.append(np.mean(found % 6 == taste))
        best = sources["gbo"].propose(Request("u", 1, "AA", NOW), 10).items
        by_chance = max(np.mean(best % 6 == taste) for taste in range(6))
        assert np.mean(shares) > 0.6 > by_chance, (name, shares, len(own))


def test_a_graph_serves_the_large_merchant_and_agrees_with_the_scan(trained: Any, sources: Any) -> None:
    graphs = trained.metrics["sources"]["led"]["AA"]["graphs"]
    assert list(graphs) == ["m2"]
    assert graphs["m2"]["recall"] >= 0.95
    assert graphs["m2"]["reachable"] >= 0.99 * graphs["m2"]["items"]
    country = sources["led"]._countries["AA"]
    request = Request("u", 2, "AA", NOW, history_of([1, 7, 13, 200]))
    start, end = country.items.slice_of(2)
    rows, _ = exact_search(country.indexes.vectors[start:end], country.query(request), 50)
    found = sources["led"].propose(request, 50).items
    assert len(np.intersect1d(found, country.items.items[rows + start])) >= 45


def test_gbo_ranks_by_users_and_breaks_ties_by_position(trained: Any) -> None:
    scores = np.array([2, 5, 5, 0] + [1] * (len(trained.items) - 4), np.float32)
    found = GlobalBestOf.of(scores, trained.items).propose(Request("u", 0, "AA", NOW), 4)
    assert found.items.tolist() == [1, 2, 0, 4]
    assert found.scores.tolist() == [5, 5, 2, 1]


def test_threads_may_share_a_source(trained: Any, sources: Any) -> None:
    timelines = Timelines.of(trained.events, trained.items)
    requests = [Request("u", user % 3, "AA", NOW, timelines.history(user)) for user in range(300)]
    for source in sources.values():
        alone = [source.propose(request, 20).items.tolist() for request in requests]
        with ThreadPoolExecutor(8) as pool:
            together = [found.items.tolist() for found in pool.map(source.propose, requests, [20] * len(requests))]
        assert together == alone


def test_only_the_named_sources_are_loaded_in_their_order(trained: Any) -> None:
    assert list(load_sources_from(trained.folder, trained.items, ["led", "gbo"])) == ["led", "gbo"]
    with pytest.raises(CandidatesError, match="unknown candidate source 'best'; expected one of gbo, cbo, led"):
        load_sources_from(trained.folder, trained.items, ["best"])


@pytest.mark.parametrize(
    "broken",
    ["led/0/vectors.npy", "led/0/unknown_order.npy", "cbo/0/list_items.npy", "gbo/order.npy", "led/countries.json"],
)
def test_a_missing_or_broken_file_is_named(trained: Any, broken: str, tmp_path: Path) -> None:
    shutil.copytree(trained.folder, tmp_path / "part")
    (tmp_path / "part" / broken).write_bytes(b"{")
    with pytest.raises(TandemError, match=Path(broken).name.replace(".", r"\.")):
        load_sources_from(tmp_path / "part", trained.items)
    (tmp_path / "part" / broken).unlink()
    with pytest.raises(TandemError, match=Path(broken).name.replace(".", r"\.")):
        load_sources_from(tmp_path / "part", trained.items)


def test_a_merchant_that_is_scanned_has_no_file_of_its_own(trained: Any) -> None:
    """However many merchants there are, their exact indexes are slices of one mapped array."""
    arrays = ("items", "rows", "merchant_rows", "vectors", "biases", "inverse_norms")
    arrays += ("unknown_order", "unknown_offsets")
    of_graph = {
        "2.hnsw",
        "2.rows.npy",
        "2.copies.npy",
        "2.scanned.npy",
        "2.highest.npy",
    }  # the one merchant above exact_up_to
    for country in ("0", "1"):
        found = {file.name for file in (trained.folder / "led" / country).iterdir()}
        assert found - of_graph - {"scales.npy"} == {"led.json", *(f"{name}.npy" for name in arrays)}
