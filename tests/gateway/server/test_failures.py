"""What goes wrong while a gateway serves, made to go wrong for real: each gets its clear answer, nothing is lost."""

import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest

from data.bundle import BundleDraft, publish
from data.eventlog import EventLogError, read_displays, read_tracked
from gateway.errors import GatewayError, RefusalError
from gateway.experiment.populations import DEFAULT_POPULATIONS
from gateway.log.rate_limited import RateLimitedLog
from proto.tandem.v1 import tandem_pb2 as pb
from tests.support.gateway.gateway_process import GatewayProcess, context
from tests.support.gateway.stand_ins import make_bundle

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    with GatewayProcess(tmp_path_factory.mktemp("failures") / "w", in_flight=4) as running:
        yield running


def _user_of(population: str) -> str:
    from gateway.experiment.populations import load_experiment

    experiment = load_experiment(DEFAULT_POPULATIONS)
    return next(user for user in map(str, range(1000)) if experiment.assign(user) == population)


C_USER = _user_of("C")


def _click(name: str) -> pb.TrackedEvent:
    return pb.TrackedEvent(
        event_id=name, user_id="u", kind=pb.CLICK, item_id="i", merchant_id="m", display_id="d", country="FR"
    )


@pytest.mark.parametrize("fault", ["sleep 1", "sleep-in-c 1"])
def test_a_slow_source_is_left_out_in_time_then_skipped_at_once_until_it_recovers(
    gateway: GatewayProcess, fault: str
) -> None:
    with gateway.client() as client:
        gateway.fault(json.dumps({"led": fault}))
        marks, times, skipped = [], [], []
        for _ in range(6):
            began = time.perf_counter()
            answer = client.get_banner(context(C_USER), slots=4, preview=True)
            times.append(time.perf_counter() - began)
            marks += answer.degraded
            assert len(answer.slots) == 4 and all("led" not in slot.sources for slot in answer.slots)
            assert sum(one.us for one in answer.stage_times) < times[-1] * 1e6
            if answer.degraded == ["led: stuck"]:
                skipped.append(next(one.us for one in answer.stage_times if one.stage == "led"))
        assert marks[0] == "led: late" and set(marks) == {"led: late", "led: stuck"} and len(marks) == 6
        assert max(times) < 0.8  # the source alone takes a second
        assert min(skipped) < 10_000  # microseconds: its deadline of 20 ms is not waited for
        gateway.fault("{}")
        gateway.until(lambda: not client.get_banner(context(C_USER), slots=4, preview=True).degraded)


@pytest.mark.parametrize(
    ("fault", "mark"),
    [("raise", "ranker: ValueError"), ("nan", "ranker: gave no finite score"), ("sleep 0.2", "ranker: late")],
)
def test_a_ranker_that_fails_is_replaced_by_the_sources_own_order(
    gateway: GatewayProcess, fault: str, mark: str
) -> None:
    with gateway.client() as client:
        gateway.fault(json.dumps({"ranker": fault}))
        answer = client.get_banner(context(C_USER), slots=3)
        gateway.fault("{}")
        assert [slot.item_id for slot in answer.slots] == ["books-000", "books-002", "books-004"]
        assert len(answer.degraded) == 1 and answer.degraded[0].startswith(mark)
        (row,) = [one for one in read_displays(gateway.files.log).to_pylist() if one["display_id"] == answer.display_id]
        assert row["degraded"] == list(answer.degraded) and row["slots"][0]["dense"] == []
        gateway.until(lambda: not client.get_banner(context(C_USER), slots=4, preview=True).degraded)


def test_ranking_alone_with_a_failing_ranker_is_unavailable(gateway: GatewayProcess) -> None:
    with gateway.client(retry=False) as client:
        gateway.fault('{"ranker": "raise"}')
        with pytest.raises(RefusalError, match="ranker: ValueError") as caught:
            client.rank(context(), ["books-001"])
        assert (caught.value.status, caught.value.reason) == ("UNAVAILABLE", "RANKER_FAILED")
        gateway.fault("{}")


def test_the_clients_own_deadline_is_honoured(tmp_path: Path) -> None:
    with GatewayProcess(tmp_path / "w", workers=1, source_ms=3000, total_ms=5000) as running:
        with running.client(timeout=5) as patient:
            patient.get_banner(context(C_USER), slots=3)
        running.fault('{"gbo": "sleep 1"}')
        with running.client(timeout=0.25, retry=False) as hasty:
            answer = hasty.get_banner(context(C_USER), slots=3)
        assert "gbo: late" in answer.degraded


def test_load_past_the_limit_is_shed_at_once_and_the_rest_is_answered(gateway: GatewayProcess) -> None:
    gateway.fault('{"gbo": "sleep 0.018", "cbo": "sleep 0.018"}')
    outcomes: Counter[str] = Counter()
    slowest = [0.0]

    def ask() -> None:
        with gateway.client(retry=False) as client:
            for _ in range(10):
                began = time.perf_counter()
                try:
                    client.get_banner(context(C_USER), slots=3, preview=True)
                    outcomes["answered"] += 1
                except RefusalError as refusal:
                    assert refusal.status == "RESOURCE_EXHAUSTED" and "try again later" in str(refusal)
                    assert refusal.reason in ("TOO_MANY_REQUESTS", "NO_FREE_THREAD")
                    outcomes["shed"] += 1
                slowest[0] = max(slowest[0], time.perf_counter() - began)

    threads = [threading.Thread(target=ask) for _ in range(24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    gateway.fault("{}")
    assert outcomes["answered"] >= 10 and outcomes["shed"] >= 10 and sum(outcomes.values()) == 240
    assert slowest[0] < 1.0
    with gateway.client() as client:
        gateway.until(lambda: not client.get_banner(context(C_USER), slots=4, preview=True).degraded)


def test_a_log_that_cannot_be_written_acknowledges_nothing_and_banners_go_on_marked(gateway: GatewayProcess) -> None:
    with gateway.client(retry=False) as client:
        client.track([_click("room")])
        limits = {pid: resource.prlimit(pid, resource.RLIMIT_FSIZE) for pid in _answering(gateway)}
        for pid, (_, hard) in limits.items():
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (8, hard))  # no file may grow: as a full disk
        with pytest.raises(RefusalError, match=r"event log cannot be written.*File too large") as caught:
            client.track([_click("no room")])
        assert (caught.value.status, caught.value.reason) == ("UNAVAILABLE", "EVENT_LOG")
        answer = client.get_banner(context(), slots=3)
        assert len(answer.slots) == 3 and answer.display_id == "" and answer.degraded == ["log: not written"]
        for pid, before in limits.items():
            resource.prlimit(pid, resource.RLIMIT_FSIZE, before)
        time.sleep(0.6)
        assert client.track([_click("room again")]) == 1
        found = set(read_tracked(gateway.files.log)["event_id"].to_pylist())
        assert {"room", "room again"} <= found and "no room" not in found


def test_what_every_call_meets_is_told_once_a_while_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    times = [*np.linspace(5.0, 5.9, 100), 6.0]
    limited = RateLimitedLog(seconds=1.0, clock=iter(times).__next__)
    for _ in times:
        limited.error(EventLogError("the disk is full"))
    assert caplog.messages == ["the disk is full", "the disk is full (and 99 calls more)"]


def test_kill_9_of_workers_under_traffic_loses_no_acknowledged_event_and_doubles_none(tmp_path: Path) -> None:
    with GatewayProcess(tmp_path / "w", workers=2) as running:
        command = [sys.executable, "-m", "tests.support.gateway.track_client", running.address]
        senders = [
            subprocess.Popen([*command, name], cwd=ROOT, stdout=subprocess.PIPE, text=True) for name in ("a", "b", "c")
        ]
        time.sleep(2.5)
        for kill in range(2):
            for worker in _answering(running):
                os.kill(worker, signal.SIGKILL)
            running.until(lambda: len(_answering(running)) == 2)
            running.wait_for("another starts", times=2 * (kill + 1))
            time.sleep(1.5)
        acknowledged = {}
        for name, sender in zip("abc", senders, strict=True):
            sender.kill()
            lines = (sender.communicate()[0] or "").split()
            acknowledged[name] = int(lines[-1])
        log = running.files.log
        pending = list((log / "wal").glob("*.wal"))
    for events in (read_tracked(log),):
        ids = Counter(events["event_id"].to_pylist())
        assert max(ids.values()) == 1
        for name, last in acknowledged.items():
            assert last > 20
            missing = [k for k in range(last + 1) if any(f"{name}-{k}-{j}" not in ids for j in range(3))]
            assert missing == []
        assert sum(ids.values()) <= sum(3 * (last + 2) for last in acknowledged.values())
    assert pending and not list((log / "wal").glob("*.wal"))  # compacted when the gateway stopped


def test_a_new_bundle_comes_into_service_under_traffic_without_an_error(tmp_path: Path) -> None:
    # Deadlines far out: this is about the change of bundles, whatever else the machine is busy with.
    limits = {"total_ms": 4000, "source_ms": 1000, "ranker_ms": 1000}
    with GatewayProcess(tmp_path / "w", workers=2, connection_seconds=1.5, **limits) as running:
        stop, versions, errors = threading.Event(), Counter[str](), []

        def ask() -> None:
            with running.client(retry=False) as client:  # nothing is lost, so nothing need be repeated
                while not stop.is_set():
                    try:
                        answer = client.get_banner(context(), slots=3)
                        versions[answer.bundle_version] += 1
                        assert client.track([_click(answer.display_id)]) == 1
                    except Exception as error:
                        errors.append(error)

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        for note in ("second", "third"):
            time.sleep(1)
            bundle = make_bundle(running.files, note)
            running.wait_for(f"{bundle.version} is in service")
            running.until(lambda version=bundle.version: versions[version] > 10)  # type: ignore[misc]
        stop.set()
        for thread in threads:
            thread.join()
        assert errors == [] and len(versions) == 3
        with running.client() as client:
            assert client.get_banner(context(), slots=3).bundle_version == bundle.version
        # What cannot be loaded, or is not as it was sealed, changes nothing.
        broken = make_bundle(running.files, "broken")
        running.wait_for(f"{broken.version}: RuntimeError: this bundle cannot be loaded")
        running.wait_for(f"bundle {bundle.version} stays in service")
        flipped = _flip_a_byte(running)
        running.wait_for(f"bundle {flipped}: catalog/titles.text.npy differs from its SHA-256")
        with running.client() as client:
            assert client.get_banner(context(), slots=3).bundle_version == bundle.version


def _flip_a_byte(running: GatewayProcess) -> str:
    from data.bundle import Bundle

    with BundleDraft(running.files) as draft:
        draft.take(Bundle.open(running.files.current, verify=False), ["catalog", "candidates", "ranker"])
        (draft.folder("candidates") / "more.txt").write_text("flipped")
        bundle = draft.seal()
    file = bundle.path / "catalog" / "titles.text.npy"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.unlink()  # its bytes are shared with the bundle it was taken from
    file.write_bytes(content)
    publish(running.files, bundle)
    return bundle.version


def test_sigterm_lets_what_has_begun_finish_and_leaves_nothing_behind(tmp_path: Path) -> None:
    with GatewayProcess(tmp_path / "w", workers=2, source_ms=3000, total_ms=5000) as running:
        with running.client() as client:
            client.get_banner(context(C_USER), slots=3)
            running.fault('{"led": "sleep 1"}')
            answers: list[pb.GetBannerResponse] = []
            thread = threading.Thread(target=lambda: answers.append(client.get_banner(context(C_USER), slots=3)))
            thread.start()
            time.sleep(0.3)
            workers = running.workers()
            running.process.send_signal(signal.SIGTERM)
            thread.join()
            assert running.process.wait(10) == 0
        assert len(answers[0].slots) == 3 and not answers[0].degraded
        assert not any(psutil.pid_exists(worker) for worker in workers)
        assert answers[0].display_id in read_displays(running.files.log)["display_id"].to_pylist()


def test_workers_leave_when_their_supervisor_is_killed(tmp_path: Path) -> None:
    with GatewayProcess(tmp_path / "w", workers=2) as running:
        workers = running.workers()
        os.kill(running.process.pid, signal.SIGKILL)
        running.process.wait()
        running.until(lambda: not any(_runs(worker) for worker in workers))


def test_a_worker_that_hangs_holding_pythons_lock_is_killed_and_replaced(tmp_path: Path) -> None:
    with GatewayProcess(tmp_path / "w", workers=1) as running:
        (before,) = _answering(running)
        running.fault('{"gbo": "hold-the-lock 30"}')
        with running.client(timeout=0.3, retry=False) as client, pytest.raises(GatewayError):
            client.get_banner(context(C_USER), slots=3)
        running.fault("{}")
        running.wait_for("no sign of life")
        running.until(lambda: _answering(running) not in ([], [before]))
        with running.client() as client:
            assert len(client.get_banner(context(C_USER), slots=3).slots) == 3


def _runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _answering(running: GatewayProcess) -> list[int]:
    """The processes that listen on the gateway's port."""
    found = []
    for pid in running.workers():
        try:
            connections = psutil.Process(pid).net_connections("tcp")
        except psutil.NoSuchProcess:
            continue
        if any(one.status == psutil.CONN_LISTEN and one.laddr.port == running.port for one in connections):
            found.append(pid)
    return sorted(found)
