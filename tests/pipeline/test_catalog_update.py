"""`tandem catalog update` and retraining of stage one: both stages stay, whatever the catalog becomes meanwhile."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest

from candidates.config import CandidatesConfig, CboConfig, EmbeddingConfig, LedConfig
from candidates.sources import load_sources
from data.bundle import Bundle
from data.items import ItemTable
from data.request import Request
from data.schema import CATALOG_SCHEMA
from data.tables import load_catalog, load_events, store
from data.workspace import Origin, Workspace
from pipeline.settings import TrainingPlan
from pipeline.training import train_bundle
from ranker.banner.scorer import BannerScorer
from ranker.banner.training import RankerConfig
from ranker.training.settings import BANNER
from tests.support.marketplace import catalog_of, events_of
from tests.support.processes import environment

pytestmark = pytest.mark.slow

QUICK = TrainingPlan(
    candidates=CandidatesConfig(
        embedding=EmbeddingConfig(dimension=8, oversampling=4),
        cbo=CboConfig(clusters=(4,)),
        led=LedConfig(dimension=8, epochs=1, tuning="spectral"),
    ),
    ranker=RankerConfig(training=BANNER.changed(epochs=1), baselines=False),
    requests=200,
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Both stages of merchants m0 and m1, of 30 and 120 items."""
    place = Workspace(tmp_path_factory.mktemp("trained") / "w")
    catalog = catalog_of((30, 120))
    events = events_of(catalog, 300, seed=1)
    store(place, events, catalog, Origin("made up", True, "0", len(events), len(catalog)))
    train_bundle(place, QUICK)
    QUICK.keep(place)
    return place


@pytest.fixture
def workspace(trained: Workspace, tmp_path: Path) -> Workspace:
    shutil.copytree(trained.root, tmp_path / "w", symlinks=True, copy_function=os.link)
    return Workspace(tmp_path / "w")


def started(*words: str | Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tandem", *map(str, words)]
    return subprocess.Popen(command, env=environment() | {"COLUMNS": "160"}, stderr=subprocess.PIPE, text=True)


def tandem(*words: str | Path) -> tuple[int, str]:
    """(exit code, what it said on standard error) of a command in a process of its own."""
    process = started(*words)
    said = process.communicate(timeout=300)[1]
    return process.returncode, said


def rows(path: Path, *given: dict[str, Any]) -> Path:
    pacsv.write_csv(pa.Table.from_pylist(list(given)), path)
    return path


def new_item(name: str, merchant: str = "m1") -> dict[str, Any]:
    return {"item_id": name, "merchant_id": merchant, "category": "", "price": 3.0, "title": name, "available": "yes"}


def in_service(workspace: Workspace) -> tuple[Bundle, ItemTable]:
    bundle = Bundle.open(workspace.current)
    return bundle, ItemTable.load(bundle.catalog)


def everything_proposed(bundle: Bundle, items: ItemTable, merchant: str) -> dict[str, set[str]]:
    request = Request("nobody", items.merchants.position(merchant), "AA", 9)
    sources = load_sources(bundle, items).items()
    return {name: set(items.items.ids_at(source.propose(request, 10_000).items)) for name, source in sources}


def state_of(workspace: Workspace) -> tuple[Any, ...]:
    return workspace.current.resolve(), load_catalog(workspace), load_events(workspace), workspace.origin()


def changed(workspace: Workspace, before: tuple[Any, ...]) -> bool:
    return not all(one.equals(two) if isinstance(one, pa.Table) else one == two
                   for one, two in zip(state_of(workspace), before, strict=True))  # fmt: skip


def test_prices_titles_and_availability_change_and_items_come_and_go_with_both_stages(workspace: Workspace) -> None:
    old, items = in_service(workspace)
    hidden = items.items.ids_at(np.flatnonzero(~np.asarray(items.available)))
    gone, back = "m1-0000", next(one for one in hidden if one.startswith("m1"))
    file = rows(
        workspace.root / "changes.csv",
        {"item_id": gone, "merchant_id": "m1", "price": None, "available": "no"},
        {"item_id": back, "merchant_id": "m1", "price": None, "available": "yes"},
        {"item_id": "m0-0001", "merchant_id": "m0", "price": 12.5, "available": "yes"},
        {"item_id": "m0-0003", "merchant_id": "m0", "price": None, "available": "yes"},
        {"item_id": "brand-new", "merchant_id": "m1", "price": 4.0, "available": "yes"},
    )
    figures = workspace.root / "figures.json"
    code, said = tandem("catalog", "update", file, "-w", workspace.root, "--json", figures)
    assert code == 0, said
    counts = json.loads(figures.read_text())["figures"]["changes"]
    expected = {"added": 1, "changed": 1, "retired": 1, "returned": 1, "unchanged": 1, "missing": 0, "refused": 0}
    assert counts == expected
    bundle, after = in_service(workspace)
    assert bundle.version != old.version and bundle.has("ranker") and bundle.metrics["ranker"] == old.metrics["ranker"]
    position = after.items.position("m0-0001")
    assert after.price[position] == 12.5 and after.titles[position] == "title of m0-0001"
    for name, found in everything_proposed(bundle, after, "m1").items():
        assert gone not in found and {back, "brand-new"} <= found, name
    scorer = BannerScorer.load(bundle, after)
    every = np.arange(len(after), dtype=np.int32)
    scores = scorer.score(scorer.features(Request("u0003", 1, "AA", 9), every))
    assert ((scores > 0) & (scores < 1)).all()
    stored = {row["item_id"]: row for row in load_catalog(workspace).to_pylist()}
    assert not stored[gone]["available"] and stored["m0-0001"]["price"] == 12.5 and "brand-new" in stored
    shown, hide = {"available": "yes"}, {"available": "no"}
    again = rows(
        workspace.root / "again.csv",
        {"item_id": gone} | shown,
        {"item_id": back} | hide,
        {"item_id": "m0-0001"} | shown,
    )
    assert tandem("catalog", "update", again, "-w", workspace.root)[0] == 0
    bundle, after = in_service(workspace)
    assert after.price[after.items.position("m0-0001")] == 12.5  # a column that the file lacks stays
    sources = ((load_sources(old, items), items), (load_sources(bundle, after), after))
    for name in ("gbo", "cbo", "led"):  # an item that returns stands where it stood
        one, two = (
            table.items.ids_at(of[name].propose(Request("u", table.merchants.position("m1"), "AA", 9), 40).items)
            for of, table in sources
        )
        assert [item for item in two if item != "brand-new"][:38] == one[:38], name


def test_a_file_that_says_nothing_new_changes_nothing(workspace: Workspace) -> None:
    before = state_of(workspace)
    file = rows(workspace.root / "same.csv", {"item_id": "m0-0001", "title": "title of m0-0001"})
    assert tandem("catalog", "update", file, "-w", workspace.root)[0] == 0
    assert not changed(workspace, before)


@pytest.mark.parametrize(
    ("given", "options", "sentence"),
    [
        (
            {"item_id": "m0-0001", "merchant_id": "m1"},
            (),
            "is of merchant 'm1' here, of 'm0' in service",
        ),
        ({"item_id": "unheard-of"}, (), "item 'unheard-of' is new; expected its merchant"),
        ({"item_id": "m0-0001"}, ("--retire-missing",), "without available items of merchant m1, 136 of 137"),
    ],
)
def test_what_would_lose_items_is_one_sentence_and_changes_nothing(
    workspace: Workspace, given: dict[str, str], options: tuple[str, ...], sentence: str
) -> None:
    before = state_of(workspace)
    file = rows(workspace.root / "wrong.csv", given)
    code, said = tandem("catalog", "update", file, "-w", workspace.root, *options)
    assert code == 2 and sentence in " ".join(said.split()) and "Traceback" not in said
    assert not changed(workspace, before)


def test_what_is_told_to_be_lost_is_lost(workspace: Workspace) -> None:
    whole = load_catalog(workspace).filter(pa.compute.equal(load_catalog(workspace)["merchant_id"], "m0"))
    pq.write_table(whole, workspace.root / "whole.parquet")
    command = (
        "catalog",
        "update",
        workspace.root / "whole.parquet",
        "-w",
        workspace.root,
        "--retire-missing",
        "--allow",
    )
    assert tandem(*command)[0] == 0
    bundle, items = in_service(workspace)
    assert all(not found for found in everything_proposed(bundle, items, "m1").values()) and bundle.has("ranker")


def test_before_the_first_training_the_workspace_alone_changes(tmp_path: Path) -> None:
    place, catalog = Workspace(tmp_path / "w"), catalog_of((9,))
    store(place, events_of(catalog, 9, seed=1), catalog, Origin("made up", True, "0", 1, 9))
    assert tandem("catalog", "update", rows(tmp_path / "new.csv", new_item("n", "m0")), "-w", place.root)[0] == 0
    assert "n" in load_catalog(place)["item_id"].to_pylist() and not place.bundles.exists()


def test_a_retraining_of_stage_one_keeps_the_ranker_for_any_catalog(workspace: Workspace, trained: Workspace) -> None:
    catalog, events = load_catalog(workspace), load_events(workspace)
    items = catalog.to_pylist()
    replaced = [row | {"price": 7.0} for row in items[1:]] + [items[0] | {"item_id": "a-new-one", "available": True}]
    store(workspace, events, pa.Table.from_pylist(replaced, CATALOG_SCHEMA), workspace.origin(), replace=True)
    assert tandem("candidates", "train", "-w", workspace.root)[0] == 0
    bundle, after = in_service(workspace)
    old, before = in_service(trained)
    assert bundle.version != old.version and bundle.metrics["ranker"] == old.metrics["ranker"]
    now, was = BannerScorer.load(bundle, after), BannerScorer.load(old, before)
    values = np.load(bundle.ranker / "item_rows.npy"), np.load(old.ranker / "item_rows.npy")
    for one in ("m0-0001", "m1-0100"):
        np.testing.assert_array_equal(values[0][:, after.items.position(one)], values[1][:, before.items.position(one)])
    assert now.dense_names == was.dense_names
    assert values[0][0, after.items.position("a-new-one")] == 1  # no row of its own: what no training saw


def test_two_add_items_at_once_lose_nothing(workspace: Workspace) -> None:
    files = [rows(workspace.root / f"{name}.csv", new_item(name)) for name in ("one", "two")]
    running = [started("candidates", "add-items", file, "-w", workspace.root) for file in files]
    assert [one.communicate(timeout=300) and one.returncode for one in running] == [0, 0]
    bundle, items = in_service(workspace)
    for known in (items.items.ids(), load_catalog(workspace)["item_id"].to_pylist()):
        assert {"one", "two"} <= set(known)
    assert bundle.has("ranker")


def test_what_is_added_while_stage_one_trains_is_in_the_trained_bundle(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipeline import training

    train = training._stage_one
    file = rows(workspace.root / "meanwhile.csv", new_item("meanwhile"))
    price = rows(workspace.root / "price.csv", {"item_id": "m0-0001", "price": 77.0})

    def and_meanwhile(*given: Any) -> Any:
        figures = train(*given)
        for command in (("candidates", "add-items", file), ("catalog", "update", price)):
            assert tandem(*command, "-w", workspace.root)[0] == 0
        return figures

    monkeypatch.setattr(training, "_stage_one", and_meanwhile)
    bundle = training.train_stage_one(workspace, QUICK.changed(seed=5))
    served, items = in_service(workspace)
    assert served.version == bundle.version and bundle.metrics["candidates"]["seed"] == 5 and bundle.has("ranker")
    assert items.price[items.items.position("m0-0001")] == 77.0
    for name, found in everything_proposed(bundle, items, "m1").items():
        assert "meanwhile" in found, name
    assert not [one for one in workspace.bundles.glob("[!.]*/manifest.json") if not (one.parent / "ranker").exists()]


KILLED = """
import os, signal, sys
from pathlib import Path
from candidates.new_items import addition
from data.workspace import Workspace
from pipeline.carrying import keep_ranker_of
def die(*given, **more):
    os.kill(os.getpid(), signal.SIGKILL)
setattr(addition, sys.argv[3], die)
addition.update_catalog(Workspace(sys.argv[1]), addition.CatalogRequest(Path(sys.argv[2])), None, keep_ranker_of)
"""


def test_an_update_killed_in_the_middle_leaves_what_is_in_service_and_can_be_made_again(workspace: Workspace) -> None:
    served = workspace.current.resolve()
    file = rows(workspace.root / "changes.csv", {"item_id": "m1-0000", "available": "no"})
    command = [sys.executable, "-c", KILLED, str(workspace.root), str(file), "publish"]
    assert subprocess.run(command, env=environment()).returncode == -9
    assert workspace.current.resolve() == served and Bundle.open(workspace.current).has("ranker")
    assert tandem("catalog", "update", file, "-w", workspace.root)[0] == 0
    bundle, items = in_service(workspace)
    assert all("m1-0000" not in found for found in everything_proposed(bundle, items, "m1").values())
    assert not list(workspace.bundles.glob(".draft-*"))


def test_events_whose_ids_are_those_of_other_events_are_refused_and_second_copies_counted(workspace: Workspace) -> None:
    stored = load_events(workspace).slice(0, 20)
    users = pa.array([f"other{place}" for place in range(len(stored))])
    other = stored.set_column(stored.column_names.index("user_id"), "user_id", users)
    pq.write_table(other, workspace.root / "clash.parquet")
    pq.write_table(stored, workspace.root / "same.parquet")
    file, before = rows(workspace.root / "new.csv", new_item("late")), state_of(workspace)
    add = ("candidates", "add-items", file, "-w", workspace.root, "--events")
    code, said = tandem(*add, workspace.root / "clash.parquet")
    assert code == 2 and "20 of 20 events have ids of other events" in " ".join(said.split())
    assert not changed(workspace, before)
    figures = workspace.root / "figures.json"
    assert tandem(*add, workspace.root / "same.parquet", "--json", figures)[0] == 0
    assert json.loads(figures.read_text())["figures"]["items"]["events there already"] == 20
    assert len(load_events(workspace)) == len(before[2])
