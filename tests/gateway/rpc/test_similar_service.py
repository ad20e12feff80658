"""Similar items, reasons and bought items through the socket of a gateway that serves a trained bundle."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from candidates.config import CandidatesConfig, CboConfig, EmbeddingConfig, LedConfig
from data.schema import CATALOG_SCHEMA, EVENT_SCHEMA
from data.workspace import Origin, Workspace
from gateway.banner.runtime import Runtime
from gateway.client import GatewayClient
from gateway.errors import RefusalError
from pipeline.training import TrainingPlan, train_stage_one
from proto.tandem.v1 import tandem_pb2 as pb
from tests.support.gateway.gateway_process import GatewayProcess, context, free_port
from tests.support.gateway.stand_ins import make_bundle

MERCHANTS = ("bikes", "shoes")


def _marketplace(place: Workspace) -> None:
    """Two merchants of 40 items; users take items whose numbers are near each other. Number 39 nobody took."""
    rng = np.random.default_rng(0)
    catalog = [
        {"item_id": f"{m}-{k:02d}", "merchant_id": m, "category": f"{m}/{k // 10}", "title": f"{m} {k}",
         "image_url": "", "available": k != 5}
        for m in MERCHANTS for k in range(40)
    ]  # fmt: skip
    events = []
    for user in range(150):
        centre = int(rng.integers(0, 39))
        for _ in range(8):
            merchant, item = MERCHANTS[int(rng.integers(2))], int(np.clip(centre + rng.integers(-3, 4), 0, 38))
            events.append(
                {"event_id": f"e{len(events)}", "ts": 10**15 + len(events), "user_id": f"u{user}", "kind": "view",
                 "item_id": f"{merchant}-{item:02d}", "merchant_id": merchant, "country": "FR"}
            )  # fmt: skip
    place.root.mkdir()
    pq.write_table(pa.Table.from_pylist(catalog, CATALOG_SCHEMA), place.catalog)
    pq.write_table(pa.Table.from_pylist(events, EVENT_SCHEMA), place.events)
    place.write_origin(Origin("made up", True, "0", len(events), len(catalog)))


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    place = Workspace(tmp_path_factory.mktemp("similar") / "w")
    _marketplace(place)
    quick = CandidatesConfig(
        embedding=EmbeddingConfig(dimension=8, oversampling=4),
        cbo=CboConfig(clusters=(4,)),
        led=LedConfig(dimension=8, epochs=1),
    )
    train_stage_one(place, TrainingPlan(candidates=quick))
    return place


@pytest.fixture(scope="module")
def client(workspace: Workspace) -> Iterator[GatewayClient]:
    port = free_port()
    serve = ["-m", "tandem", "gateway", "serve", "-w", str(workspace.root), "--port", str(port), "--workers", "1"]
    serve += ["--total-ms", "5000"]  # a busy machine is no failure here
    process = subprocess.Popen([sys.executable, *serve], env=os.environ | {"COLUMNS": "1000"})
    try:
        with GatewayClient(f"127.0.0.1:{port}", timeout=10) as one:
            one.wait_until_ready(60)
            yield one
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)


def test_similar_items_are_the_offline_ones_of_the_same_merchant(workspace: Workspace, client: GatewayClient) -> None:
    runtime = Runtime.load(workspace.current)
    assert runtime.similar is not None
    found = client.get_similar_items("bikes-20", 6, "FR", exclude_item_ids=["bikes-21", "gone"])
    ids = runtime.items.items
    left_out = np.array([ids.position("bikes-21")], np.int32)
    offline = runtime.similar.find(ids.position("bikes-20"), "FR", 6, left_out)
    assert list(found.item_ids) == ids.ids_at(offline.items) and found.basis == "behaviour"
    np.testing.assert_allclose(found.scores, offline.scores, rtol=1e-6)
    assert all(one.startswith("bikes-") for one in found.item_ids)
    assert not {"bikes-20", "bikes-21", "bikes-05"} & set(found.item_ids)
    assert np.mean([abs(int(one[-2:]) - 20) for one in found.item_ids]) < 8  # by chance about 11
    assert found.bundle_version == runtime.version
    assert [one.stage for one in found.stage_times] == ["parse", "wait", "similar", "fill"]


def test_an_item_that_nobody_took_is_answered_by_its_category(client: GatewayClient) -> None:
    found = client.get_similar_items("shoes-39", 9)
    assert found.basis == "category"
    assert {one[:-1] for one in found.item_ids} == {"shoes-3"} and len(found.item_ids) == 9


@pytest.mark.parametrize(
    ("fields", "status", "sentence"),
    [
        ({"item_id": ""}, "INVALID_ARGUMENT", "item_id is empty"),
        ({"item_id": "x" * 129}, "INVALID_ARGUMENT", "item_id has 129 characters"),
        ({"item_id": "gone"}, "NOT_FOUND", "item_id 'gone' is not in the bundle's catalog"),
        ({"k": 0}, "INVALID_ARGUMENT", "k is 0; expected 1 to 500"),
        ({"k": 501}, "INVALID_ARGUMENT", "k is 501"),
        ({"country": "y" * 65}, "INVALID_ARGUMENT", "country has 65 characters"),
        ({"exclude_item_ids": ["x"] * 1001}, "INVALID_ARGUMENT", "exclude_item_ids has 1001 entries"),
    ],
)
def test_a_wrong_question_gets_its_status_and_a_sentence(
    client: GatewayClient, fields: dict[str, object], status: str, sentence: str
) -> None:
    with pytest.raises(RefusalError, match=sentence) as refused:
        client.get_similar_items(**({"item_id": "bikes-01", "k": 3} | fields))  # type: ignore[arg-type]
    assert refused.value.status == status


def test_reasons_add_up_to_the_scores_and_only_led_gives_them(client: GatewayClient) -> None:
    asked = context(merchant="bikes", history=pb.History(item_ids=["bikes-03", "shoes-09", "bikes-04"]))
    found = {one.source: one for one in client.get_candidates(asked, 40, explain=2).sources}
    assert not found["gbo"].explanations and not found["cbo"].explanations
    led = found["led"]
    assert len(led.explanations) == len(led.item_ids) == 39
    for score, reason in zip(led.scores, led.explanations, strict=True):
        if reason.known:
            parts = reason.bias + reason.others + sum(one.contribution for one in reason.history)
            assert parts == pytest.approx(score, abs=1e-4)
            assert {one.item_id for one in reason.history} <= {"bikes-03", "shoes-09", "bikes-04"}
    assert [reason.known for reason in led.explanations] == [one != "bikes-39" for one in led.item_ids]
    assert not any(one.explanations for one in client.get_candidates(asked, 5).sources)
    with pytest.raises(RefusalError, match="explain is 21; expected 0 to 20"):
        client.get_candidates(asked, 5, explain=21)


def test_what_the_history_holds_as_bought_is_left_out_even_beyond_its_newest_part(client: GatewayClient) -> None:
    items = ["bikes-01", "bikes-02", *["shoes-01"] * 60]
    history = pb.History(item_ids=items, kinds=[pb.SALE, pb.CLICK])
    plain = client.get_candidates(context(merchant="bikes", history=history), 40)
    bought = client.get_candidates(context(merchant="bikes", history=history, exclude_kinds=[pb.SALE]), 40)
    taken = client.get_candidates(
        context(merchant="bikes", history=history, exclude_kinds=[pb.CLICK, pb.SALE], exclude_item_ids=["bikes-03"]), 40
    )
    for before, sale, more in zip(plain.sources, bought.sources, taken.sources, strict=True):
        assert {"bikes-01", "bikes-02"} < set(before.item_ids)
        assert set(before.item_ids) - set(sale.item_ids) == {"bikes-01"}
        assert set(before.item_ids) - set(more.item_ids) == {"bikes-01", "bikes-02", "bikes-03"}
    banner = client.get_banner(context(merchant="bikes", history=history, exclude_kinds=[pb.SALE]), 40, preview=True)
    assert "bikes-01" not in {slot.item_id for slot in banner.slots} and len(banner.slots) == 38
    with pytest.raises(RefusalError, match=r"context\.exclude_kinds\[0\] is 7; expected 1 "):
        client.get_candidates(context(merchant="bikes", exclude_kinds=[7]), 5)
    with pytest.raises(RefusalError, match=r"context\.exclude_kinds has 5 entries; expected at most 4"):
        client.get_candidates(context(merchant="bikes", exclude_kinds=[0] * 5), 5)


def test_a_bundle_without_vectors_says_so_and_a_gateway_may_leave_out_what_was_bought_unasked(tmp_path: Path) -> None:
    with GatewayProcess(tmp_path / "w", workers=1, exclude_kinds="[sale]") as running, running.client() as one:
        history = pb.History(item_ids=["books-001", "books-002"], kinds=[pb.SALE])
        found = one.get_candidates(context(history=history), 40)
        assert all("books-001" not in each.item_ids and "books-002" in each.item_ids for each in found.sources)
        banner = one.get_banner(context(history=history, exclude_kinds=[pb.VIEW]), 40, preview=True)
        assert not {"books-001", "books-002"} & {slot.item_id for slot in banner.slots} and len(banner.slots) == 38
        with pytest.raises(RefusalError, match="has no source led to compare items by") as refused:
            one.get_similar_items("books-001", 3)
        assert refused.value.status == grpc.StatusCode.FAILED_PRECONDITION.name


def test_a_late_or_failing_answer_is_unavailable_and_the_gateway_goes_on(tmp_path: Path) -> None:
    root = tmp_path / "w"
    root.mkdir()
    make_bundle(Workspace(root), "similar")
    with GatewayProcess(root, workers=1, total_ms=100) as running, running.client(retry=False) as one:
        assert list(one.get_similar_items("books-001", 2).item_ids) == ["books-002", "books-003"]
        wrong = (("sleep-in-c 2", "similar: late", "LATE"), ("raise", "similar: ValueError", "FAILED"))
        for fault, sentence, reason in wrong:
            running.fault(json.dumps({"similar": fault}))
            began = time.monotonic()
            with pytest.raises(RefusalError, match=sentence) as refused:
                one.get_similar_items("books-001", 2)
            assert (refused.value.status, refused.value.reason) == ("UNAVAILABLE", f"SIMILAR_{reason}")
            assert time.monotonic() - began < 1.5
            assert len(one.get_banner(context(), 3, preview=True).slots) == 3
            running.fault("{}")
            assert len(one.get_similar_items("books-001", 2).item_ids) == 2


def test_new_items_come_into_service_while_the_gateway_answers(
    workspace: Workspace, client: GatewayClient, tmp_path: Path
) -> None:
    """Last in this file: the gateway serves another bundle from then on."""
    before = client.get_similar_items("bikes-20", 3).bundle_version
    row = {"merchant_id": "bikes", "category": "bikes/2", "title": "new", "image_url": "", "available": True}
    new = [row | {"item_id": name} for name in ("bikes-2x", "aaa")]
    pq.write_table(pa.Table.from_pylist(new, CATALOG_SCHEMA), tmp_path / "new.parquet")
    events = [
        {"event_id": f"n{user}-{item}", "ts": 10**15 + 10**9, "user_id": f"new{user}", "kind": "view", "item_id": item,
         "merchant_id": "bikes", "country": "FR"}
        for user in range(30) for item in ("bikes-2x", f"bikes-{20 + user % 3}", f"bikes-{23 + user % 2}")
    ]  # fmt: skip
    pq.write_table(pa.Table.from_pylist(events, EVENT_SCHEMA), tmp_path / "events.parquet")
    add = [sys.executable, "-m", "tandem", "candidates", "add-items", str(tmp_path / "new.parquet")]
    options = ["--events", str(tmp_path / "events.parquet"), "-w", str(workspace.root)]
    process = subprocess.Popen([*add, *options], stdout=subprocess.PIPE, text=True)
    ends = time.monotonic() + 60
    answered = 0
    while (found := client.get_similar_items("bikes-20", 3)).bundle_version == before:
        answered += 1  # the old bundle serves until the new one does: no call fails
        assert time.monotonic() < ends
        time.sleep(0.02)
    assert process.wait(30) == 0 and process.stdout is not None
    assert "2 new items beside 80" in process.stdout.read()
    assert answered and found.bundle_version == str(workspace.current.readlink())
    like = client.get_similar_items("bikes-2x", 8, exclude_item_ids=["aaa"])
    assert like.basis == "behaviour" and np.mean([abs(int(one[-2:]) - 22) for one in like.item_ids]) < 8
    assert client.get_similar_items("aaa", 3).basis == "behaviour"  # it stands where its category does
    asked = context(merchant="bikes", history=pb.History(item_ids=["bikes-20", "bikes-22"]))
    assert all("bikes-2x" in one.item_ids for one in client.get_candidates(asked, 41).sources)
    again = subprocess.run([*add, "-w", str(workspace.root)], capture_output=True, text=True)
    assert again.returncode == 2 and "has all 2 items already" in again.stderr
