"""Gateways beside each other, gateways that end, and a log that fails while they serve: each through its socket."""

import json
import os
import resource
import signal
import subprocess
import threading
import time
from pathlib import Path

import grpc
import psutil
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from data.eventlog import LogWriter, read_displays, read_tracked
from gateway.client import GatewayClient
from gateway.errors import RefusalError
from tests.support.gateway.gateway_process import C_USER, ROOT, GatewayProcess, click, context
from tests.support.gateway.stand_ins import make_bundle

TRACKING = "tandem.v1.TrackingService"


def beside(first: GatewayProcess, port: int) -> GatewayProcess:
    """Another gateway of the same workspace."""
    second = GatewayProcess(first.files.root, workers=1)
    second.port, second.address, second._output = port, f"127.0.0.1:{port}", first.files.root / "second.txt"
    return second


def health(address: str, service: str = TRACKING) -> int:
    with grpc.insecure_channel(address) as channel:
        return health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service=service)).status


def test_of_two_gateways_that_start_together_on_one_port_one_serves_and_one_is_refused(tmp_path: Path) -> None:
    with GatewayProcess(tmp_path / "w", workers=1) as other:
        port, command = other.port, other.process.args
    together = [
        subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, cwd=ROOT, env=os.environ
        )
        for _ in range(2)
    ]
    try:
        ends = time.monotonic() + 30
        while all(one.poll() is None for one in together) and time.monotonic() < ends:
            time.sleep(0.05)
        (refused,) = [one for one in together if one.poll() is not None]
        said = refused.communicate()[1].splitlines()
        assert refused.returncode == 2 and f":{port}: expected a free port to listen on, found: " in said[-1]
        with GatewayClient(f"127.0.0.1:{port}", timeout=5) as client:
            client.wait_until_ready(20)
            assert len(client.get_banner(context(C_USER), slots=3, preview=True).slots) == 3
    finally:
        for one in together:
            if one.poll() is None:
                one.terminate()
                one.communicate()


def test_two_gateways_of_one_workspace_are_told_apart_and_both_log(tmp_path: Path) -> None:
    with GatewayProcess(tmp_path / "w", workers=1) as first:
        second = beside(first, first.port + 1 if first.port < 60_000 else first.port - 1)
        with second:
            assert f"another gateway (process {first.process.pid}) serves the workspace" in second.said()
            with first.client() as one, second.client() as other:
                one.track([click("of-the-first")])
                other.track([click("of-the-second")])
        assert "another gateway" not in first.said()
    assert read_tracked(first.files.log)["event_id"].to_pylist() == ["of-the-first", "of-the-second"]


def test_an_open_watch_of_health_delays_no_stop(tmp_path: Path) -> None:
    with GatewayProcess(tmp_path / "w", workers=1) as running, grpc.insecure_channel(running.address) as channel:
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(service=""))
        assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
        began = time.monotonic()
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(30) == 0
        assert time.monotonic() - began < 5  # drain_seconds are ten


def test_a_stopped_worker_does_not_outlive_its_supervisor(tmp_path: Path) -> None:
    with GatewayProcess(tmp_path / "w", workers=1, silence_seconds=60) as running:
        (worker,) = running.answering()
        os.kill(worker, signal.SIGSTOP)
        os.kill(running.process.pid, signal.SIGKILL)
        running.process.wait()
        running.until(lambda: not psutil.pid_exists(worker) or psutil.Process(worker).status() == psutil.STATUS_ZOMBIE)


def test_a_batch_of_events_counts_once_among_the_requests_at_once(tmp_path: Path) -> None:
    with GatewayProcess(tmp_path / "w", workers=1, in_flight=4) as running:
        running.fault('{"log": "sleep 0.5"}')
        failed: list[Exception] = []

        def track(name: str) -> None:
            try:
                with running.client(timeout=10, retry=False) as client:
                    client.track([click(name)])
            except Exception as error:
                failed.append(error)

        threads = [threading.Thread(target=track, args=(f"e{k}",)) for k in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failed


@pytest.mark.slow
def test_events_that_the_disk_keeps_waiting_are_refused_in_time_and_health_turns(tmp_path: Path) -> None:
    files = GatewayProcess(tmp_path / "w", workers=1, track_ms=300, in_flight=3)
    with files as running, running.client(timeout=20, retry=False) as client:
        client.track([click("before")])
        assert health(running.address) == health_pb2.HealthCheckResponse.SERVING
        running.fault('{"disk": "sleep 4"}')
        for k in range(3):
            with pytest.raises(RefusalError, match=r"not on disk after 0\.3 s; send them again") as caught:
                client.track([click(f"late-{k}")])
            assert (caught.value.status, caught.value.reason) == ("UNAVAILABLE", "EVENT_LOG")
        with pytest.raises(RefusalError, match="3 batches of events wait for the disk"):
            client.track([click("one too many")])
        assert len(client.get_banner(context(C_USER), slots=3, preview=True).slots) == 3
        running.until(lambda: health(running.address) == health_pb2.HealthCheckResponse.NOT_SERVING)
        assert health(running.address, "tandem.v1.BannerService") == health_pb2.HealthCheckResponse.SERVING
        running.fault("{}")
        running.until(lambda: health(running.address) == health_pb2.HealthCheckResponse.SERVING)
        client.track([click("late-0"), click("after")])
    assert set(read_tracked(running.files.log)["event_id"].to_pylist()) >= {"before", "late-0", "after"}


@pytest.mark.slow
def test_health_turns_while_the_disk_is_full(tmp_path: Path) -> None:
    with GatewayProcess(tmp_path / "w", workers=1) as running, running.client(retry=False) as client:
        (worker,) = running.answering()
        limits = resource.prlimit(worker, resource.RLIMIT_FSIZE)
        resource.prlimit(worker, resource.RLIMIT_FSIZE, (8, limits[1]))  # no file may grow: as a full disk
        with pytest.raises(RefusalError):
            client.track([click("no room")])
        running.until(lambda: health(running.address) == health_pb2.HealthCheckResponse.NOT_SERVING)
        resource.prlimit(worker, resource.RLIMIT_FSIZE, limits)
        running.until(lambda: health(running.address) == health_pb2.HealthCheckResponse.SERVING)
        assert client.track([click("room")]) == 1


@pytest.mark.parametrize("damage", ["a flipped bit in the last record", "a zeroed half"])
def test_acknowledged_events_that_the_disk_lost_are_not_lost_in_silence(tmp_path: Path, damage: str) -> None:
    files = GatewayProcess(tmp_path / "w", workers=1)
    writer = LogWriter(files.files.log)
    for k in range(10):
        writer.append_tracked([click(f"e{k}")])
    writer.close()
    (path,) = (files.files.log / "wal").glob("*.wal")
    content = bytearray(path.read_bytes())
    if damage == "a zeroed half":
        content[len(content) // 2 :] = bytes(len(content) - len(content) // 2)
    else:
        content[-3] ^= 4
    path.write_bytes(content)
    with files as running:
        running.wait_for("are damaged, for they fit no checksum; its whole records are kept")
        running.until((running.files.log / "damaged" / path.name).exists)
        with running.client() as client:
            client.track([click("after")])
        kept = read_tracked(running.files.log)["event_id"].to_pylist()
        assert "after" in kept and len(kept) == (5 if damage == "a zeroed half" else 10)


def test_a_client_sends_no_message_that_no_gateway_takes_and_a_display_says_how_long_the_log_took_before(
    tmp_path: Path,
) -> None:
    with GatewayProcess(tmp_path / "w", workers=1) as running, running.client() as client:
        with pytest.raises(RefusalError, match="Sent message larger than max") as caught:  # so says our own end
            client.get_banner(context(C_USER, publisher="x" * 600_000), slots=1)
        assert caught.value.status == "RESOURCE_EXHAUSTED"
        running.fault('{"log": "sleep 0.02"}')
        for _ in range(2):
            shown = client.get_banner(context(C_USER), slots=3).display_id
        rows = {row["display_id"]: row for row in read_displays(running.files.log).to_pylist()}
        assert dict(rows[shown]["stage_us"])["log"] >= 20_000


def test_a_bundle_that_lacks_what_the_old_one_has_is_told_as_it_comes_into_service(tmp_path: Path) -> None:
    with GatewayProcess(tmp_path / "w", workers=1, connection_seconds=1) as running, running.client() as client:
        old = running.files.current.resolve().name

        def without_shoes(catalog: Path) -> None:
            import numpy as np

            available = np.load(catalog / "available.npy")
            available[-28:] = False
            np.save(catalog / "available.npy", available)

        new = make_bundle(running.files, "poorer", without_shoes, allow=True).version
        running.wait_for(f"bundle {new} is without what {old} has: ")
        running.until(lambda: client.get_banner(context(C_USER), slots=3, preview=True).bundle_version == new)
        assert json.loads((running.files.bundles / new / "manifest.json").read_text())["version"] == new
