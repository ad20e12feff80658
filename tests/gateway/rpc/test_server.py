"""A running gateway, asked through its socket: what it answers, refuses and logs."""

import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest

from data.eventlog import read_displays, read_tracked
from gateway.banner.assembly import assemble
from gateway.client import GatewayClient
from gateway.errors import GatewayError, RefusalError
from gateway.experiment.populations import load_experiment
from gateway.rpc.decoding import request_of
from proto.tandem.v1 import tandem_pb2 as pb
from tests.support.gateway.gateway_process import GatewayProcess, context
from tests.support.gateway.stand_ins import stand_in_runtime
from tests.support.log_records import NOON


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    with GatewayProcess(tmp_path_factory.mktemp("server") / "w", replay="true") as running:
        yield running


@pytest.fixture
def client(gateway: GatewayProcess) -> Iterator[GatewayClient]:
    with gateway.client() as one:
        yield one


def _click(name: str, **fields: object) -> pb.TrackedEvent:
    given = {"event_id": name, "user_id": "u", "kind": pb.CLICK, "item_id": "i", "merchant_id": "m", "display_id": "d"}
    return pb.TrackedEvent(**(given | fields))  # type: ignore[arg-type]


def test_a_banner_is_answered_logged_and_the_same_as_offline(gateway: GatewayProcess, client: GatewayClient) -> None:
    asked = context(
        history=pb.History(item_ids=["books-001", "shoes-004"]), publisher="news", device="phone", ts_us=NOON
    )
    answer = client.get_banner(asked, slots=6)
    runtime = stand_in_runtime(gateway.files.current)
    experiment = load_experiment(gateway.populations)
    population = experiment.population(experiment.assign("u1"))
    offline = assemble(runtime, request_of(asked, runtime.items, replay=True), population.sources, 6, per_source=50)
    assert (answer.population, answer.experiment) == (population.name, "led-launch")
    assert (answer.config_hash, answer.bundle_version) == (experiment.config_hash, runtime.version)
    assert answer.simulated and not answer.degraded
    assert [(slot.position, slot.item_id, tuple(slot.sources)) for slot in answer.slots] == [
        (slot.position, runtime.items.items.id(slot.item), slot.sources) for slot in offline.slots
    ]
    assert [slot.score for slot in answer.slots] == [np.float32(slot.score) for slot in offline.slots]
    assert answer.slots[0].title == "Books No. 39" and answer.slots[0].price == 44.0
    stages = [one.stage for one in answer.stage_times]
    assert stages == ["parse", "wait", *population.sources, "pool", "ranker", "fill", "log"]

    (row,) = [one for one in read_displays(gateway.files.log).to_pylist() if one["display_id"] == answer.display_id]
    assert (row["user_id"], row["merchant_id"], row["country"]) == ("u1", "books", "FR")
    assert (row["publisher"], row["device"], row["population"]) == ("news", "phone", population.name)
    assert row["recent_items"] == ["books-001", "shoes-004"] and row["recent_categories"] == ["books/1", "shoes/1"]
    assert row["dense_names"] == ["price", "history_length"]
    assert [slot["item_id"] for slot in row["slots"]] == [slot.item_id for slot in answer.slots]
    assert row["slots"][0]["dense"] == [44.0, 2.0] and row["slots"][0]["category"] == "books/0"
    assert int(row["ts"].timestamp() * 1e6) == NOON
    logged, told = dict(row["stage_us"]), {one.stage: one.us for one in answer.stage_times}
    assert logged.pop("log") >= 0 and logged == {stage: us for stage, us in told.items() if stage != "log"}


@pytest.mark.parametrize(
    "fields",
    [
        {"user": "never seen before"},
        {"history": pb.History()},
        {"country": "Atlantis"},
        {"country": ""},
        {"history": pb.History(item_ids=["gone"] * 200)},
        {"user": "ünïcödé \u202e 🙂"},
        {"merchant": "tiny"},
    ],
)
def test_what_the_bundle_does_not_know_is_answered_all_the_same(client: GatewayClient, fields: dict) -> None:  # type: ignore[type-arg]
    answer = client.get_banner(context(**fields), slots=3)
    assert len(answer.slots) == 3 and not answer.degraded


def test_a_merchant_without_available_items_gets_an_empty_banner(client: GatewayClient) -> None:
    assert len(client.get_banner(context(merchant="empty"), slots=3).slots) == 0


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        ({"slots": 10_000}, "INVALID_ARGUMENT", "slots is 10000; expected 1 to 50"),
        ({"slots": 0}, "INVALID_ARGUMENT", "slots is 0; expected 1 to 50"),
        ({"context": context(merchant="nobody")}, "NOT_FOUND", "'nobody' is not in the bundle's catalog"),
        ({"context": context(user="")}, "INVALID_ARGUMENT", "user_id is empty"),
        ({"population": "A"}, "INVALID_ARGUMENT", "population is given without preview"),
        ({"population": "Z", "preview": True}, "INVALID_ARGUMENT", "expected one of A, B, C"),
        ({"context": context(exclude_item_ids=["x" * 100] * 9_000)}, "RESOURCE_EXHAUSTED", "larger than max"),
    ],
)
def test_a_banner_that_cannot_be_is_refused_with_a_sentence(
    client: GatewayClient,
    arguments: dict,
    status: str,
    said: str,  # type: ignore[type-arg]
) -> None:
    with pytest.raises(RefusalError, match=said) as caught:
        client.get_banner(**({"context": context(), "slots": 6} | arguments))
    assert caught.value.status == status
    # What gRPC refuses by itself, a message that is too large, has no reason of the gateway's.
    reasons = {"INVALID_ARGUMENT": "INVALID_FIELD", "NOT_FOUND": "UNKNOWN_MERCHANT", "RESOURCE_EXHAUSTED": ""}
    assert caught.value.reason == reasons[status]


def test_exclusions_are_kept_out(client: GatewayClient) -> None:
    answer = client.get_banner(context(exclude_item_ids=["books-039", "books-038"]), slots=2)
    assert [slot.item_id for slot in answer.slots] == ["books-037", "books-036"]


def test_a_preview_is_not_logged_and_may_choose_its_population(gateway: GatewayProcess, client: GatewayClient) -> None:
    before = len(read_displays(gateway.files.log))
    answer = client.get_banner(context(), slots=6, preview=True, population="A")
    assert answer.population == "A" and answer.display_id == ""
    assert {name for slot in answer.slots for name in slot.sources} == {"gbo"}
    assert len(read_displays(gateway.files.log)) == before


def test_candidates_are_what_each_source_proposes(client: GatewayClient) -> None:
    answer = client.get_candidates(context(), k=4)
    assert {one.source: list(one.item_ids)[:2] for one in answer.sources} == {
        "gbo": ["books-000", "books-001"],
        "cbo": ["books-002", "books-003"],
        "led": ["books-004", "books-005"],
    }
    assert [len(one.scores) for one in answer.sources] == [4, 4, 4]
    assert [one.source for one in client.get_candidates(context(), 4, ["led"]).sources] == ["led"]
    for k, sources in ((501, []), (0, []), (5, ["lde"])):
        with pytest.raises(RefusalError, match=r"expected") as caught:
            client.get_candidates(context(), k, sources)
        assert caught.value.status == "INVALID_ARGUMENT"


def test_ranking_answers_in_the_order_asked_and_nan_for_what_it_does_not_know(client: GatewayClient) -> None:
    scores = client.rank(context(), ["books-009", "nothing", "books-002", "shoes-001", "books-009"])
    assert np.isnan(scores).tolist() == [False, True, False, True, False]
    assert scores[0] == scores[4] > scores[2]
    assert client.rank(context(), []) == []


def test_tracked_events_are_on_disk_when_the_answer_comes_and_a_repeated_batch_counts_once(
    gateway: GatewayProcess, client: GatewayClient
) -> None:
    batch = [_click("t1"), _click("t2"), _click("t3", kind=pb.SALE, order_id="o", order_value=12.5, ts_us=NOON)]
    assert client.track(batch) == 3
    assert client.track(batch) == 3
    found = [row for row in read_tracked(gateway.files.log).to_pylist() if row["event_id"].startswith("t")]
    assert sorted(row["event_id"] for row in found) == ["t1", "t2", "t3"]
    assert client.track([]) == 0


def test_a_batch_with_one_wrong_event_is_refused_whole(gateway: GatewayProcess, client: GatewayClient) -> None:
    with pytest.raises(RefusalError, match=r"events\[1\]\.order_value is nan") as caught:
        client.track([_click("w1"), _click("w2", order_value=float("nan"))])
    assert caught.value.status == "INVALID_ARGUMENT"
    assert "w1" not in read_tracked(gateway.files.log)["event_id"].to_pylist()


def test_bytes_that_are_no_message_are_refused_and_harm_nothing(gateway: GatewayProcess, client: GatewayClient) -> None:
    with grpc.insecure_channel(gateway.address) as channel:
        call = channel.unary_unary("/tandem.v1.BannerService/GetBanner")
        for body in (b"\xff\xff\xff", b"\x0a\x03\x0a\x01\xff"):  # the second: a user id that is not UTF-8
            with pytest.raises(grpc.RpcError) as caught:
                call(body, timeout=5)
            assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
            assert "expected the bytes of a tandem.v1.GetBannerRequest, found" in str(caught.value.details())
        with pytest.raises(grpc.RpcError):
            channel.unary_unary("/grpc.health.v1.Health/Check")(b"\xff\xff\xff", timeout=5)
    assert "Traceback" not in gateway.said()
    assert len(client.get_banner(context(), slots=2).slots) == 2


def test_every_service_reports_its_health_and_reflects_its_interface(gateway: GatewayProcess) -> None:
    from google.protobuf.descriptor_pool import DescriptorPool
    from grpc_health.v1 import health_pb2, health_pb2_grpc
    from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

    names = ["BannerService", "CandidateService", "RankerService", "TrackingService"]
    with grpc.insecure_channel(gateway.address) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        for name in ("", *(f"tandem.v1.{one}" for one in names)):
            found = stub.Check(health_pb2.HealthCheckRequest(service=name), timeout=5)
            assert found.status == health_pb2.HealthCheckResponse.SERVING
        database = ProtoReflectionDescriptorDatabase(channel)
        assert {f"tandem.v1.{one}" for one in names} <= set(database.get_services())
        service = DescriptorPool(database).FindServiceByName("tandem.v1.BannerService")
        assert [method.name for method in service.methods] == ["GetBanner"]


def test_a_gateway_without_replay_takes_no_times(tmp_path: Path) -> None:
    with GatewayProcess(tmp_path / "w", workers=1) as running, running.client() as client:
        with pytest.raises(RefusalError, match=r"expected 0 \(now\).*--replay"):
            client.get_banner(context(ts_us=NOON), slots=2)
        # Populations change without a restart; a wrong file changes nothing.
        assert client.get_banner(context(), slots=2).experiment == "led-launch"
        text = running.populations.read_text()
        running.populations.write_text(text.replace("led-launch", "second"))
        running.wait_for("populations second")
        running.until(lambda: client.get_banner(context(), slots=2).experiment == "second")
        running.populations.write_text("nonsense")
        running.wait_for("stays in force")
        time.sleep(1)  # twice what a worker waits before it looks again
        assert client.get_banner(context(), slots=2).experiment == "second"


def test_nobody_there_is_said_with_what_to_do() -> None:
    said = r"nothing answers at 127\.0\.0\.1:1; `tandem gateway serve`"
    with GatewayClient("127.0.0.1:1", timeout=1, retry=False) as client, pytest.raises(GatewayError, match=said):
        client.get_banner(context(), slots=1)


def test_a_filter_holds_for_every_answer_and_one_that_makes_no_sense_is_refused(client: GatewayClient) -> None:
    asked = context(filter=pb.Filter(categories=["Books / 2"], min_price=10, max_price=30))
    shown = client.get_banner(asked, slots=6, preview=True).slots
    assert len(shown) == 6 and all(slot.category == "books/2" and 10 <= slot.price <= 30 for slot in shown)
    proposed = client.get_candidates(asked, k=50).sources
    passing = {f"books-{k:03d}" for k in range(2, 40, 3) if 10 <= 5 + k <= 30}
    assert all(set(one.item_ids) == passing for one in proposed)
    nothing = client.get_banner(context(filter=pb.Filter(categories=["hats"])), slots=6)
    assert not nothing.slots and not nothing.display_id
    with pytest.raises(RefusalError, match=r"context\.filter\.min_price is 9; expected at most max_price, which is 8"):
        client.get_banner(context(filter=pb.Filter(min_price=9, max_price=8)), slots=6)
