"""`add_items` on a small marketplace whose bundle has a graph: what is in service before, in between and afterwards."""

import os
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from candidates.cold_start.catalog_diff import CatalogDiff
from candidates.errors import CandidatesError
from candidates.index import exact_search
from candidates.new_items.addition import AdditionConfig, add_items
from candidates.sources import SOURCES, load_sources
from data.bundle import Bundle, publish
from data.errors import DataError
from data.items import ItemTable
from data.tables import load_catalog, load_events
from data.workspace import Workspace
from pipeline.training import TrainingPlan, train_stage_one
from tests.support.new_items import CONFIG, Shop, copied, request_of


@dataclass(frozen=True)
class Added:
    place: Workspace
    old: Bundle
    bundle: Bundle
    diff: CatalogDiff
    figures: dict[str, Any]


@pytest.fixture(scope="module")
def added(shop: Shop, tmp_path_factory: pytest.TempPathFactory) -> Added:
    place = copied(shop, tmp_path_factory.mktemp("added") / "w")
    old = Bundle.open(place.current)
    bundle, figures = add_items(place, shop.new, shop.since, AdditionConfig(held_out=0.4))
    diff = CatalogDiff.of(ItemTable.load(old.catalog), pq.read_table(shop.new))
    return Added(place, old, bundle, diff, figures)


def test_new_items_are_found_and_old_ones_are_still_found(added: Added, shop: Shop) -> None:
    assert Bundle.open(added.place.current).version == added.bundle.version != added.old.version
    counts = added.figures["items"]
    new = pq.read_table(shop.new)
    assert (counts["new"], added.figures["changes"]["unchanged"]) == (len(new), 0)
    assert counts["before"] + counts["new"] == len(ItemTable.load(added.bundle.catalog))
    recall = added.figures["recall"]
    for source in ("gbo", "cbo", "led"):
        before, after = recall["before"], recall["after"]
        assert before["new"][source]["recall@20"] == 0 and after["new"][source]["users"] > 10
        assert after["old"][source]["recall@20"] > 0.75 * before["old"][source]["recall@20"]
    assert recall["after"]["new"]["led"]["recall@20"] > 0.1
    stored = load_catalog(added.place)
    assert set(new["item_id"].to_pylist()) <= set(stored["item_id"].to_pylist())
    assert len(load_events(added.place)) == len(load_events(shop.place)) + len(pq.read_table(shop.since))
    assert (added.place.origin().items, added.place.origin().events) == (len(stored), len(load_events(added.place)))


@settings(deadline=None, max_examples=60)
@given(
    name=st.sampled_from(["gbo", "cbo", "led"]),
    merchant=st.integers(-1, 4),
    k=st.sampled_from([1, 20, 10_000]),
    history=st.lists(st.integers(0, 549), max_size=15),
    exclude=st.lists(st.integers(0, 549), max_size=100),
)
def test_extended_sources_keep_the_contract(
    added: Added, name: str, merchant: int, k: int, history: list[int], exclude: list[int]
) -> None:
    items = added.diff.after
    found = load_sources(added.bundle, items, [name])[name].propose(request_of(history, merchant, exclude), k)
    assert len(np.unique(found.items)) == len(found) and (np.diff(found.scores) <= 0).all()
    assert not np.isin(found.items, exclude).any()
    if not 0 <= merchant < len(items.merchants):
        assert len(found) == 0
        return
    own = np.arange(len(items))[items.slice_of(merchant)]
    assert np.isin(found.items, own).all() and items.available[found.items].all()
    assert len(found) == min(k, int((items.available[own] & ~np.isin(own, exclude)).sum()))


def test_old_items_keep_their_vectors_and_new_ones_point_where_their_users_do(added: Added, shop: Shop) -> None:
    diff = added.diff
    before = load_sources(added.old, diff.before, ["led"])["led"].country("AA")  # type: ignore[attr-defined]
    after = load_sources(added.bundle, diff.after, ["led"])["led"].country("AA")  # type: ignore[attr-defined]
    rows = after.items.rows[diff.moved[before.items.items]]
    np.testing.assert_array_equal(after.indexes.vectors[rows], before.indexes.vectors)
    number = np.array([int(one[-4:]) for one in diff.after.items.ids()])  # a taste is a number's remainder
    users = pq.read_table(shop.since, columns=["item_id"])["item_id"].value_counts().to_pylist()
    taken = {one["values"]: one["counts"] for one in users}
    right = []
    for item in diff.added.tolist():
        if taken.get(diff.after.items.id(item), 0) >= 5:
            found = after.similar(item, 10, np.empty(0, np.int32))
            if found is not None:  # only the other country's users took it, or those kept out
                right.append(np.mean(number[found.items] % 6 == number[item] % 6))
    assert len(right) > 10 and np.mean(right) > 0.4  # a sixth by chance


def test_a_graph_takes_new_items_in_and_still_has_its_recall(added: Added) -> None:
    country = load_sources(added.bundle, added.diff.after, ["led"])["led"].country("AA")  # type: ignore[attr-defined]
    (merchant,) = country.indexes.graphs
    graph = country.indexes.graphs[merchant]
    start, end = country.items.slice_of(merchant)
    vectors = country.indexes.vectors[start:end]
    fresh = np.flatnonzero(np.isin(country.items.items[start:end], added.diff.added) & (vectors[:, -1] > -1e20))
    assert len(fresh) > 10 and np.isin(fresh, graph.scanned).all()
    assert graph.facts.recall >= 0.95
    rng = np.random.default_rng(0)
    hits = []
    for _ in range(100):
        query = country.query(request_of(rng.integers(0, 549, 6).tolist(), merchant))
        found = graph.search(query, 50, np.empty(0, np.int64))
        assert found is not None
        hits.append(len(np.intersect1d(found[0], exact_search(vectors, query, 50)[0])) / 50)
    assert np.mean(hits) >= 0.92


def test_without_events_new_items_stand_by_their_category_behind_what_is_popular(shop: Shop, tmp_path: Path) -> None:
    place = copied(shop, tmp_path / "w")
    bundle, figures = add_items(place, shop.new)
    assert figures["items"]["new with events"] == figures["items"]["events"] == 0
    recall = figures["recall"]
    for source in ("gbo", "cbo", "led"):
        assert recall["after"]["old"][source]["recall@20"] > 0.9 * recall["before"]["old"][source]["recall@20"]
        assert recall["after"]["new"][source]["users"] == 0
    items = ItemTable.load(bundle.catalog)
    led = load_sources(bundle, items, ["led"])["led"]
    new = items.items.positions(pq.read_table(shop.new)["item_id"].to_pylist())
    assert (led.country("AA").items.rows[new] < 0).all()  # type: ignore[attr-defined]  # nor do they have a category
    for source in load_sources(bundle, items).values():
        found = source.propose(request_of([1, 2], 2), 10_000).items
        there = new[items.available[new] & (items.merchant[new] == 2)]
        assert np.isin(there, found).all()
    with pytest.raises(CandidatesError, match="has all 42 items already; expected at least one new item"):
        add_items(place, shop.new)


def test_the_events_of_a_few_users_are_all_learnt_from(shop: Shop, tmp_path: Path) -> None:
    place = copied(shop, tmp_path / "w")
    since = pq.read_table(shop.since)
    new = set(pq.read_table(shop.new)["item_id"].to_pylist())
    rows = [row for row in since.to_pylist() if row["item_id"] in new]
    users = {row["user_id"] for row in rows[:12]}
    few = since.filter(pc.is_in(since["user_id"], value_set=pa.array(sorted(users))))
    pq.write_table(few, tmp_path / "few.parquet")
    bundle, figures = add_items(place, shop.new, tmp_path / "few.parquet")
    assert figures["asked"] == "users of the workspace, as training knew them"
    items = ItemTable.load(bundle.catalog)
    taken = items.items.positions(sorted(new & set(few["item_id"].to_pylist())))
    countries = [load_sources(bundle, items, ["led"])["led"].country(name) for name in ("AA", "BB")]  # type: ignore
    assert all(any(country.items.rows[item] >= 0 for country in countries) for item in taken.tolist())


def test_many_new_items_make_a_graph_be_built_anew(shop: Shop, tmp_path: Path) -> None:
    place = copied(shop, tmp_path / "w")
    rows = pq.read_table(shop.new).slice(41, 1).to_pylist() * 90
    rows = [row | {"item_id": f"m2-x{number:03d}", "available": True} for number, row in enumerate(rows)]
    pq.write_table(pa.Table.from_pylist(rows, schema=pq.read_schema(shop.new)), tmp_path / "many.parquet")
    bundle, _ = add_items(place, tmp_path / "many.parquet", shop.since, AdditionConfig(held_out=0.2))
    graphs = bundle.metrics["candidates"]["added"]["sources"]["led"]["AA"]["graphs"]
    assert graphs["m2"]["recall"] >= 0.95
    folder = bundle.candidates / "led" / "0"
    assert len(np.load(folder / "2.scanned.npy")) <= 60  # scanning all of them would be as slow as no graph


def test_a_bundle_that_came_into_service_meanwhile_is_not_thrown_out(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from candidates.new_items import refresh

    place = copied(shop, tmp_path / "w")
    other = train_stage_one(copied(shop, tmp_path / "other"), TrainingPlan(candidates=CONFIG, seed=2))
    extend = refresh.extend_sources

    def meanwhile(*given: Any) -> Any:
        if not (place.bundles / other.version).exists():
            shutil.copytree(other.path, place.bundles / other.version)
        publish(place, other)  # by the same process: any other one would wait until we are done
        return extend(*given)

    monkeypatch.setattr(refresh, "extend_sources", meanwhile)
    with pytest.raises(DataError, match=f"bundle {other.version} came into service meanwhile"):
        add_items(place, shop.new, shop.since)
    assert Bundle.open(place.current).version == other.version


def test_a_source_that_must_be_trained_is_named_and_nothing_is_left_behind(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = copied(shop, tmp_path / "w")
    before = sorted(place.bundles.iterdir())
    monkeypatch.setitem(SOURCES, "cbo", replace(SOURCES["cbo"], extend=None))
    with pytest.raises(CandidatesError, match="source 'cbo' takes new items only by training"):
        add_items(place, shop.new)
    assert sorted(place.bundles.iterdir()) == before


KILLED = """
import os, signal, sys
from pathlib import Path
from candidates.new_items import addition, refresh
from data.workspace import Workspace
place, new, since, moment = Workspace(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4]
def die(*given, **more):
    os.kill(os.getpid(), signal.SIGKILL)
setattr(refresh if moment == "recall_after" else addition, moment, die)
addition.add_items(place, new, since, addition.AdditionConfig(held_out=0.4))
"""


@pytest.mark.parametrize("moment", ["recall_after", "append", "publish"])
def test_a_run_killed_at_any_moment_leaves_the_old_bundle_in_service_and_can_be_run_again(
    shop: Shop, added: Added, tmp_path: Path, moment: str
) -> None:
    place = copied(shop, tmp_path / "w")
    before = Bundle.open(place.current).version
    command = [sys.executable, "-c", KILLED, str(place.root), str(shop.new), str(shop.since), moment]
    assert subprocess.run(command, env=dict(os.environ)).returncode == -signal.SIGKILL
    assert Bundle.open(place.current).version == before  # every file of it is as it was sealed
    again, figures = add_items(place, shop.new, shop.since, AdditionConfig(held_out=0.4))
    assert Bundle.open(place.current).version == again.version
    assert not list(place.bundles.glob(".draft-*"))
    assert figures["recall"]["after"]["new"]["led"] == added.figures["recall"]["after"]["new"]["led"]
    assert load_catalog(place).equals(load_catalog(added.place))
    assert load_events(place).equals(load_events(added.place))
