"""A gateway that remembers: users are told by their id alone, whatever becomes of the store."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from data.eventlog import read_displays
from gateway.client import GatewayClient
from proto.tandem.v1 import tandem_pb2 as pb
from tests.support.gateway.gateway_process import ROOT, GatewayProcess, context
from tests.support.redis_server import RedisServer

pytestmark = pytest.mark.slow


def view(name: str, item: str, user: str = "u1") -> pb.TrackedEvent:
    return pb.TrackedEvent(event_id=name, user_id=user, kind=pb.VIEW, item_id=item, merchant_id="books")


def remembered(gateway: GatewayProcess, client: GatewayClient, user: str = "u1") -> list[str]:
    """The history that a banner was made with, as the log has it."""
    answer = client.get_banner(context(user=user), slots=3)
    assert len(answer.slots) == 3
    rows = read_displays(gateway.files.log).to_pylist()
    return next(row["recent_items"] for row in rows if row["display_id"] == answer.display_id)


def tandem(*arguments: str) -> str:
    ran = subprocess.run([sys.executable, "-m", "tandem", *arguments], cwd=ROOT, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    with GatewayProcess(tmp_path_factory.mktemp("timelines") / "w", **{"timelines.store": "embedded"}) as running:
        yield running


def test_tracked_events_are_the_history_of_later_requests_until_the_user_is_forgotten(gateway: GatewayProcess) -> None:
    with gateway.client() as client:
        assert remembered(gateway, client) == []
        client.track([view("v1", "books-001"), view("v2", "books-007")])
        gateway.until(lambda: remembered(gateway, client) == ["books-001", "books-007"])
        assert "timeline" in [one.stage for one in client.get_banner(context(), slots=3).stage_times]

        own = client.get_banner(context(history=pb.History(item_ids=["books-002"])), slots=3)
        assert "timeline" not in [one.stage for one in own.stage_times] and not own.degraded

        root = str(gateway.files.root)
        assert "books-007" in tandem("timelines", "show", "u1", "-w", root)
        assert "2 events and" in tandem("timelines", "forget", "u1", "-w", root)
        assert remembered(gateway, client) == []
        client.track([view("v1", "books-001"), view("v3", "books-003")])  # an old one sent again, and a new one
        gateway.until(lambda: "books-003" in remembered(gateway, client))


def test_workers_that_are_replaced_remember_too(gateway: GatewayProcess) -> None:
    with gateway.client() as client:
        client.track([view("w1", "books-005", user="stays")])
        gateway.until(lambda: remembered(gateway, client, "stays") == ["books-005"])
    before = gateway.answering()
    for one in before:
        subprocess.run(["kill", "-9", str(one)], check=True)
    gateway.until(lambda: len(gateway.answering()) == 2 and not set(before) & set(gateway.answering()))
    with gateway.client() as client:
        assert remembered(gateway, client, "stays") == ["books-005"]


def test_a_redis_that_freezes_or_dies_costs_only_the_history_and_gets_later_what_it_missed(tmp_path: Path) -> None:
    (tmp_path / "redis").mkdir()
    options = {"timelines.store": "redis", "timelines.limit_ms": 100}
    with ExitStack() as stack:
        server = stack.enter_context(RedisServer(tmp_path / "redis"))
        gateway = stack.enter_context(GatewayProcess(tmp_path / "w", **options, **{"timelines.url": server.url}))
        client = stack.enter_context(gateway.client())
        client.track([view("v1", "books-001")])
        gateway.until(lambda: remembered(gateway, client) == ["books-001"])

        server.freeze()
        marks = set()
        for _ in range(5):
            began = time.monotonic()
            answer = client.get_banner(context(), slots=3)
            assert len(answer.slots) == 3 and time.monotonic() - began < 2
            marks |= set(answer.degraded)
        assert marks and marks <= {"timeline: late", "timeline: stuck", "timeline: away"}
        server.thaw()
        gateway.until(lambda: remembered(gateway, client) == ["books-001"])

        server.kill()
        gateway.until(lambda: list(client.get_banner(context(), slots=3).degraded) == ["timeline: away"])
        client.track([view("v2", "books-002")])
        assert remembered(gateway, client) == []
        server.start()
        gateway.until(lambda: remembered(gateway, client) == ["books-001", "books-002"], seconds=30)
