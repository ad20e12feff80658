"""What the gateway tracked reaches stage one, and its displays the ranker, through real files of the log."""

from pathlib import Path

import numpy as np
import pytest

from candidates.cold_start.catalog_diff import catalog_of as table_of
from candidates.config import CandidatesConfig, CboConfig, EmbeddingConfig, LedConfig
from candidates.sources import load_sources
from data.bundle import Bundle
from data.eventlog import LogWriter, compact
from data.items import ItemTable
from data.request import Request
from data.schema import EVENT_KINDS
from data.tables import load_catalog, load_events, store
from data.workspace import Origin, Workspace
from pipeline.settings import TrainingPlan
from pipeline.training import train_bundle, train_stage_one
from proto.tandem.v1.log_pb2 import DisplayRecord, LoggedSlot
from ranker.banner.training import RankerConfig
from ranker.training.settings import BANNER
from tests.support.log_records import logged_event
from tests.support.logged_shop import show
from tests.support.marketplace import catalog_of, events_of
from tests.support.shop import make_shop

QUICK = TrainingPlan(
    candidates=CandidatesConfig(
        embedding=EmbeddingConfig(dimension=8, oversampling=4),
        cbo=CboConfig(clusters=(4,)),
        led=LedConfig(tuning="spectral", dimension=8),
    ),
    ranker=RankerConfig(training=BANNER.changed(epochs=1), baselines=False),
    requests=300,
    enough_clicks=100,
)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    place = Workspace(tmp_path / "w")
    catalog = catalog_of((30, 120))
    events = events_of(catalog, 300, seed=1)
    store(place, events, catalog, Origin("made up", True, "0", len(events), len(catalog)))
    return place


def best_of(bundle: Bundle) -> str:
    """The item that GBO proposes first at the larger merchant."""
    items = ItemTable.load(bundle.catalog)
    merchant = int(items.merchants.positions(["m1"])[0])
    proposed = load_sources(bundle, items)["gbo"].propose(Request("u", merchant, "AA", 0), 1)
    return items.items.id(int(proposed.items[0]))


def test_clicks_that_the_gateway_tracked_are_interest(workspace: Workspace) -> None:
    before = best_of(train_stage_one(workspace, QUICK))
    items = ItemTable.load(Bundle.open(workspace.current).catalog)
    other = items.items.id(int(items.slice_of(1).stop - 1))
    ts, imported = int(load_events(workspace)["ts"].cast("int64")[-1].as_py()), len(load_events(workspace))
    writer, kind = LogWriter(workspace.log), EVENT_KINDS.index("click")
    shared = {"item_id": other, "merchant_id": "m1", "country": "AA", "kind": kind, "display_id": "d"}
    clicks = [logged_event(f"c{one}", ts_us=ts + one, user_id=f"new{one}", **shared) for one in range(400)]
    writer.append_tracked(clicks)
    writer.close()
    compact(workspace.log)
    again = LogWriter(workspace.log)
    again.append_tracked(clicks[:25])  # sent twice
    again.close()
    without = train_stage_one(workspace, QUICK.changed(from_log=False))
    assert (best_of(without), without.metrics["events"]["log"]) == (before, 0)
    learnt = train_stage_one(workspace, QUICK)
    assert before != best_of(learnt) == other
    assert learnt.metrics["events"] == {"imported": imported, "log": 400, "doubled": 25}
    spectral = learnt.metrics["candidates"]["sources"]["led"]["AA"]
    assert spectral["chosen"] == "spectral"


def test_what_banners_showed_in_vain_teaches_led_where_a_setting_says_so(workspace: Workspace) -> None:
    items = ItemTable.of(load_catalog(workspace))
    never, shown = items.items.ids()[30:50], items.slice_of(1)
    users = sorted(set(load_events(workspace)["user_id"].to_pylist()))
    writer = LogWriter(workspace.log)
    for user in users:
        slots = [LoggedSlot(position=at, item_id=item) for at, item in enumerate(never)]
        writer.append_display(DisplayRecord(display_id=f"d-{user}", user_id=user, merchant_id="m1", slots=slots))
    writer.close()
    led = LedConfig(tuning="full", start="random", loss="bpr", dimension=8, epochs=4, negatives=20, learning_rate=0.05)
    standing = {}
    for share in (0.0, 1.0):
        config = QUICK.candidates.changed(led=led.changed(unclicked_negatives=share), sources=("led",))
        bundle = train_stage_one(workspace, QUICK.changed(candidates=config))
        positions, vectors = load_sources(bundle, items)["led"].item_vectors("")
        of_merchant = (positions >= shown.start) & (positions < shown.stop) & items.available[positions]
        in_vain = of_merchant & np.isin(positions, items.items.positions(never))
        standing[share] = vectors.biases[in_vain].mean() - vectors.biases[of_merchant].mean()
    assert standing[1.0] < standing[0.0] - 0.1


@pytest.mark.slow
def test_one_training_teaches_both_stages_what_was_displayed(tmp_path: Path) -> None:
    shop = make_shop(users=120, items=120, events=4_000)
    workspace = Workspace(tmp_path / "w")
    catalog = shop.items
    store(workspace, shop.events, table_of(catalog), Origin("made up", True, "0", len(shop.events), len(catalog)))
    first = train_bundle(workspace, QUICK)
    assert not first.metrics["ranker"]["examples"]["from_log"]
    show(workspace, shop, 150)
    few = train_bundle(workspace, QUICK)
    assert not few.metrics["ranker"]["examples"]["from_log"], "too few clicks"
    assert few.metrics["events"]["log"] > 0
    show(workspace, shop, 500, first=150)
    learnt = train_bundle(workspace, QUICK).metrics
    examples = learnt["ranker"]["examples"]
    assert examples["from_log"]
    assert examples["validation"] + examples["test"] == pytest.approx(0.25 * 4 * 620, abs=8), "of displays alone"
    assert set(learnt["ranker"]["model"]["validation_log_loss"]) == {"DLRM", "logistic regression"}
    assert np.isfinite(list(learnt["ranker"]["model"]["validation_log_loss"].values())).all()
    none = train_bundle(workspace, QUICK.changed(from_log=False)).metrics
    assert not none["ranker"]["examples"]["from_log"] and none["events"]["log"] == 0
