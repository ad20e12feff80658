"""What goes wrong while a gateway serves, made to go wrong for real: each gets its clear answer, nothing is lost."""

import json
import resource
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from data.eventlog import EventLogError, read_displays, read_tracked
from gateway.errors import RefusalError
from gateway.log.rate_limited import RateLimitedLog
from tests.support.gateway.gateway_process import C_USER, GatewayProcess, click, context


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    with GatewayProcess(tmp_path_factory.mktemp("failures") / "w", in_flight=4) as running:
        yield running


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
        client.track([click("room")])
        limits = {pid: resource.prlimit(pid, resource.RLIMIT_FSIZE) for pid in gateway.answering()}
        for pid, (_, hard) in limits.items():
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (8, hard))  # no file may grow: as a full disk
        with pytest.raises(RefusalError, match=r"event log cannot be written.*File too large") as caught:
            client.track([click("no room")])
        assert (caught.value.status, caught.value.reason) == ("UNAVAILABLE", "EVENT_LOG")
        answer = client.get_banner(context(), slots=3)
        assert len(answer.slots) == 3 and answer.display_id == "" and answer.degraded == ["log: not written"]
        for pid, before in limits.items():
            resource.prlimit(pid, resource.RLIMIT_FSIZE, before)
        time.sleep(0.6)
        assert client.track([click("room again")]) == 1
        found = set(read_tracked(gateway.files.log)["event_id"].to_pylist())
        assert {"room", "room again"} <= found and "no room" not in found


def test_what_every_call_meets_is_told_once_a_while_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    times = [*np.linspace(5.0, 5.9, 100), 6.0]
    limited = RateLimitedLog(seconds=1.0, clock=iter(times).__next__)
    for _ in times:
        limited.error(EventLogError("the disk is full"))
    assert caplog.messages == ["the disk is full", "the disk is full (and 99 calls more)"]
