"""What attackers, full memories, hanging disks and spoilt bundles do to a gateway: each through its socket."""

import json
import os
import shutil
import signal
import socket
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest

from data.eventlog import LogWriter, read_displays, read_tracked
from gateway.client import GatewayClient
from gateway.errors import RefusalError
from gateway.server.processes import Child
from gateway.server.rollout import Generation
from proto.tandem.v1 import tandem_pb2 as pb
from tests.support.gateway.gateway_process import C_USER, GatewayProcess, click, context
from tests.support.gateway.stand_ins import make_bundle


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    with GatewayProcess(tmp_path_factory.mktemp("hard") / "w", workers=1, memory_mib=150) as running:
        yield running


def test_a_log_that_hangs_delays_one_banner_by_its_limit_and_others_and_previews_not(gateway: GatewayProcess) -> None:
    with gateway.client() as client:
        client.get_banner(context(C_USER), slots=3)
        gateway.fault(json.dumps({"log": "sleep 1.5"}))
        times, marks = [], []
        for preview in (False, False, True, False):
            began = time.perf_counter()
            answer = client.get_banner(context(C_USER), slots=3, preview=preview)
            times.append(time.perf_counter() - began)
            marks.append(list(answer.degraded))
            assert len(answer.slots) == 3 and not answer.display_id
        gateway.fault("{}")
        assert marks == [["log: late"], ["log: late"], [], ["log: late"]]
        assert max(times) < 1  # the log alone takes one and a half
        gateway.until(lambda: client.get_banner(context(C_USER), slots=3).display_id != "")


def test_what_a_tracked_event_holds_beside_its_fields_is_not_written(gateway: GatewayProcess) -> None:
    event = (
        click("with-more").SerializeToString() + b"\xfa\x3f" + b"\x90\x4e" + 10_000 * b"x"
    )  # field 127, 10,000 bytes
    message = pb.TrackRequest.FromString(b"\x0a" + _length(event) + event)
    with gateway.client() as client, grpc.insecure_channel(gateway.address) as channel:
        track = channel.unary_unary("/tandem.v1.TrackingService/Track", pb.TrackRequest.SerializeToString)
        assert len(message.SerializeToString()) > 10_000
        assert pb.TrackResponse.FromString(track(message, timeout=5)).durable == 1
        client.track([click("after")])
    kept = b"".join(path.read_bytes() for path in (gateway.files.log / "wal").glob("*.wal"))
    assert b"with-more" in kept and 100 * b"x" not in kept


def test_what_is_acknowledged_after_the_logs_files_were_deleted_is_in_a_file(gateway: GatewayProcess) -> None:
    with gateway.client() as client:
        client.track([click("before-deletion")])
        shutil.rmtree(gateway.files.log / "wal")
        answer = client.get_banner(context(C_USER), slots=3)
        client.track([click("after-deletion")])
    assert answer.display_id in read_displays(gateway.files.log)["display_id"].to_pylist()
    assert "after-deletion" in read_tracked(gateway.files.log)["event_id"].to_pylist()
    gateway.wait_for("was deleted while it was written")


def test_a_record_of_an_unknown_kind_does_not_stop_a_gateways_compaction(gateway: GatewayProcess) -> None:
    later = click("of-a-later-version")
    later.kind = 99  # type: ignore[assignment]
    writer = LogWriter(gateway.files.log)
    writer.append_tracked([later, click("beside-it")])
    writer.close()
    unknown = gateway.files.log / "unknown"
    gateway.until(lambda: any(unknown.glob("*.wal")))
    with gateway.client() as client:
        client.track([click("after-it")])
    found = set(read_tracked(gateway.files.log)["event_id"].to_pylist())
    assert {"beside-it", "after-it"} <= found and later.event_id not in found


@pytest.mark.slow
def test_a_populations_file_that_is_too_long_is_refused_and_delays_no_banner(gateway: GatewayProcess) -> None:
    good = gateway.populations.read_text()
    head = "experiment: e\nsalt: s\npopulations:\n"
    for count, said in ((1_001, "at most 1000 items"), (20_000, "of at most 262,144 bytes")):
        with gateway.client() as client:
            share = 1 / count
            gateway.populations.write_text(
                head + "".join(f"  p{k}: {{share: {share}, sources: [gbo]}}\n" for k in range(count))
            )
            ends, longest = time.monotonic() + 3, 0.0
            while time.monotonic() < ends:
                began = time.perf_counter()
                assert client.get_banner(context(C_USER), slots=3, preview=True).population == "C"
                longest = max(longest, time.perf_counter() - began)
                time.sleep(0.01)
            gateway.wait_for(said)
            assert longest < 0.5
    gateway.populations.write_text(good)


@pytest.mark.parametrize("field", ["user_id", "item_id", "order_id"])
def test_control_characters_are_refused_as_imports_refuse_them(gateway: GatewayProcess, field: str) -> None:
    event = click("e")
    setattr(event, field, "two\nlines")
    with gateway.client() as client:
        with pytest.raises(RefusalError, match=rf"{field} holds a control character") as caught:
            client.track([event])
        assert caught.value.status == "INVALID_ARGUMENT"
        with pytest.raises(RefusalError, match="publisher holds a control character"):
            client.get_banner(context(C_USER, publisher="a\x00b"), slots=1)
        client.get_banner(context("Zoë 用户 \u00a0", publisher="Ω"), slots=1, preview=True)


def test_a_connection_may_have_a_hundred_calls_open(gateway: GatewayProcess) -> None:
    """Read from the HTTP/2 settings that the server begins with."""
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=5) as one:
        one.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0")
        header = _received(one, 9)
        assert header[3] == 4  # SETTINGS
        content = _received(one, int.from_bytes(header[:3], "big"))
    settings = dict(struct.iter_unpack(">HI", content))
    assert settings[3] == 100


def test_a_worker_that_has_grown_is_replaced_between_two_calls(gateway: GatewayProcess) -> None:
    (before,) = gateway.answering()
    with gateway.client() as client:
        gateway.fault(json.dumps({"led": "grow 100"}))
        for _ in range(2):
            client.get_banner(context(C_USER), slots=3, preview=True)
        gateway.fault("{}")
        gateway.wait_for("has grown by more than 150 MiB; replaced")
        gateway.until(lambda: gateway.answering() and before not in gateway.answering())
        assert len(client.get_banner(context(C_USER), slots=3, preview=True).slots) == 3


def begun_in_time(client: GatewayClient, **about: str) -> "pb.GetBannerResponse":
    """An answer; on a busy machine 15 ms may be over before a request is begun, which is refused."""
    for _ in range(100):
        try:
            return client.get_banner(context(C_USER, **about), slots=4)
        except RefusalError as error:
            assert error.status == "RESOURCE_EXHAUSTED"
    raise AssertionError("no request was begun in time")


def test_no_banner_is_empty_for_want_of_time(tmp_path: Path) -> None:
    files = GatewayProcess(tmp_path / "w", workers=1, total_ms=15, source_ms=15)
    make_bundle(files.files, "backstop")
    with files as running, running.client() as client:
        running.fault('{"cbo": "sleep 0.3"}')  # the first to be asked; nothing is left for the others
        answer = begun_in_time(client)
        assert {"cbo: late", "gbo: late", "led: late"} <= set(answer.degraded)
        assert [tuple(slot.sources) for slot in answer.slots] == [("gbo",)] * 4
        empty = begun_in_time(client, merchant="empty")
        assert not empty.slots and not empty.display_id
    assert all(row["slots"] for row in read_displays(running.files.log).to_pylist())


@pytest.mark.slow
def test_a_worker_killed_every_three_seconds_leaves_no_second_without_an_answer(tmp_path: Path) -> None:
    with GatewayProcess(tmp_path / "w", workers=2) as running, running.client(retry=True) as client:
        running.until(lambda: len(running.answering()) == 2)
        longest, kill_at, kills = 0.0, time.monotonic(), 0
        answered = time.monotonic()
        while kills < 5 or time.monotonic() < kill_at:
            if time.monotonic() >= kill_at:
                os.kill(running.answering()[0], signal.SIGKILL)
                kill_at, kills = kill_at + 3, kills + 1
            assert len(client.get_banner(context(C_USER), slots=3, preview=True).slots) == 3
            longest, answered = max(longest, time.monotonic() - answered), time.monotonic()
            time.sleep(0.02)
        assert longest < 1
        running.until(lambda: len(running.answering()) == 2)


def test_the_next_worker_starts_soon_whenever_none_answers(tmp_path: Path) -> None:
    def child(ready: bool) -> Child:
        return Child(0, None, heard=0, started=0, ready=ready)

    answering = child(ready=True)
    generation = Generation(tmp_path, [answering])
    for _ in range(8):  # with one that answers, those that end young start later and later
        generation.workers.append(young := child(ready=False))
        generation.bury(young, "young")
    assert generation.restart_at - time.monotonic() > 5
    generation.bury(answering, "the last one")
    assert generation.restart_at - time.monotonic() < 0.2
    for _ in range(8):
        generation.workers.append(young := child(ready=False))
        generation.bury(young, "young")
        assert generation.restart_at - time.monotonic() <= 0.5


@pytest.mark.slow
def test_a_hang_up_ends_nothing_and_has_a_refused_bundle_tried_again(tmp_path: Path) -> None:
    with GatewayProcess(tmp_path / "w", workers=1, compact_seconds=1000.0) as running, running.client() as client:
        old = client.get_banner(context(C_USER), slots=3, preview=True).bundle_version
        (worker,) = running.answering()
        before = set(running.workers())
        running.fault(json.dumps({"load": "sleep 60"}))
        make_bundle(running.files, "second")
        running.until(lambda: bool(set(running.workers()) - before))
        for coming in set(running.workers()) - before:
            os.kill(coming, signal.SIGKILL)
        running.wait_for("stays in service")
        assert running.answering() == [worker]
        running.fault("{}")
        os.kill(worker, signal.SIGHUP)
        os.kill(running.process.pid, signal.SIGHUP)
        running.wait_for("SIGHUP")
        running.until(lambda: client.get_banner(context(C_USER), slots=3, preview=True).bundle_version != old)
        assert running.process.poll() is None


@pytest.mark.slow
def test_a_worker_that_is_never_ready_does_not_hold_up_a_rollout(tmp_path: Path) -> None:
    with GatewayProcess(tmp_path / "w", workers=1, start_seconds=5.0) as running, running.client() as client:
        running.fault(json.dumps({"load": "sleep 60"}))
        make_bundle(running.files, "second")
        running.wait_for("is not ready after 5 s; killed")
        running.wait_for("stays in service")
        running.fault("{}")
        third = make_bundle(running.files, "third").version
        running.until(lambda: client.get_banner(context(C_USER), slots=3, preview=True).bundle_version == third)


def infinite_price(catalog: Path) -> None:
    price = np.load(catalog / "price.npy")
    price[7] = np.inf
    np.save(catalog / "price.npy", price)


def category_out_of_range(catalog: Path) -> None:
    np.save(catalog / "category.npy", np.load(catalog / "category.npy") + 1_000)


def titles_that_are_no_text(catalog: Path) -> None:
    text = np.load(catalog / "titles.text.npy")
    text[3] = 0xFF
    np.save(catalog / "titles.text.npy", text)


def test_a_bundle_with_right_digests_and_wrong_content_does_not_replace_a_good_one(tmp_path: Path) -> None:
    with GatewayProcess(tmp_path / "w", workers=1) as running, running.client() as client:
        good = client.get_banner(context(C_USER), slots=3, preview=True).bundle_version
        for times, (spoil, said) in enumerate(
            (
                (infinite_price, "price of item books-007 is infinite"),
                (category_out_of_range, "category.npy: expected"),
                (titles_that_are_no_text, "titles.text.npy: expected UTF-8"),
            ),
            start=1,
        ):
            make_bundle(running.files, str(times), spoil)
            running.wait_for("stays in service", times=times)
            assert said in running.said()
            assert client.get_banner(context(C_USER), slots=3, preview=True).bundle_version == good


def _length(content: bytes) -> bytes:
    return bytes((len(content) & 0x7F | 0x80, len(content) >> 7))


def _received(one: socket.socket, count: int) -> bytes:
    found = b""
    while len(found) < count:
        found += one.recv(count - len(found))
    return found
