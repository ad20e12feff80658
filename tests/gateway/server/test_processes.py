"""Processes come and go while a gateway serves: killed workers, new bundles, a stop. No call and no event is lost."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import psutil
import pytest

from data.bundle import BundleDraft, publish
from data.eventlog import read_displays, read_tracked
from gateway.errors import GatewayError
from proto.tandem.v1 import tandem_pb2 as pb
from tests.support.gateway.gateway_process import C_USER, GatewayProcess, click, context
from tests.support.gateway.stand_ins import make_bundle

ROOT = Path(__file__).parents[3]


def test_kill_9_of_workers_under_traffic_loses_no_acknowledged_event_and_doubles_none(tmp_path: Path) -> None:
    with GatewayProcess(tmp_path / "w", workers=2) as running:
        command = [sys.executable, "-m", "tests.support.gateway.track_client", running.address]
        senders = [
            subprocess.Popen([*command, name], cwd=ROOT, stdout=subprocess.PIPE, text=True) for name in ("a", "b", "c")
        ]
        time.sleep(2.5)
        for kill in range(2):
            for worker in running.answering():
                os.kill(worker, signal.SIGKILL)
            running.until(lambda: len(running.answering()) == 2)
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
    limits = {"total_ms": 4000, "source_ms": 1000, "ranker_ms": 1000, "log_ms": 1000}
    with GatewayProcess(tmp_path / "w", workers=2, connection_seconds=1.5, **limits) as running:
        stop, versions, errors = threading.Event(), Counter[str](), []

        def ask() -> None:
            with running.client(retry=False) as client:  # nothing is lost, so nothing need be repeated
                while not stop.is_set():
                    try:
                        answer = client.get_banner(context(), slots=3)
                        versions[answer.bundle_version] += 1
                        assert client.track([click(answer.display_id)]) == 1
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
        (before,) = running.answering()
        running.fault('{"gbo": "hold-the-lock 30"}')
        with running.client(timeout=0.3, retry=False) as client, pytest.raises(GatewayError):
            client.get_banner(context(C_USER), slots=3)
        running.fault("{}")
        running.wait_for("no sign of life")
        running.until(lambda: running.answering() not in ([], [before]))
        with running.client() as client:
            assert len(client.get_banner(context(C_USER), slots=3).slots) == 3


def _runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
