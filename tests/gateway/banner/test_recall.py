"""Timelines stand in for a history that a request does not carry, within their limit and marked."""

import asyncio
import time
from collections.abc import Mapping

import pytest

from data.request import HISTORY_LIMIT
from data.schema import EventKind
from data.workspace import Workspace
from gateway.banner.assembly import banner_stages
from gateway.banner.awaited import AwaitingRunner, as_it_is
from gateway.banner.filling import Filling
from gateway.banner.recall import Timelines
from gateway.banner.runtime import Runtime
from gateway.banner.stages import Progress, start
from gateway.banner.worker_threads import WorkerThreads
from gateway.rpc.decoding import request_of
from gateway.settings.limits import Limits
from gateway.timelines.store import Remembered, Seen, TimelineError
from proto.tandem.v1 import tandem_pb2 as pb
from tests.support.gateway.gateway_process import context
from tests.support.gateway.stand_ins import make_bundle, stand_in_runtime
from tests.support.log_records import NOON

NAMES = ("gbo", "cbo", "led")


class Store:
    """Remembers what it is told to; `seconds`: how long it takes."""

    def __init__(self, remembered: Remembered = Remembered(), seconds: float = 0.0, fails: bool = False) -> None:
        self.remembered, self.seconds, self.fails, self.asked = remembered, seconds, fails, 0

    def history(self, user_id: str, before_us: int | None = None, limit: int = 200) -> Remembered:
        self.asked += 1
        time.sleep(self.seconds)
        if self.fails:
            raise TimelineError("away")
        return self.remembered

    def seen(self, user_id: str, since_us: int) -> Mapping[str, Seen]:
        return {"books-001": Seen(2, 1, since_us)}


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Runtime:
    workspace = Workspace(tmp_path_factory.mktemp("recall"))
    make_bundle(workspace, note="backstop")
    return stand_in_runtime(workspace.current)


def answered(
    runtime: Runtime, store: Store, asked: pb.Context, always: bool = False, times: int = 1, **more: object
) -> list[Progress[Filling]]:
    limits = Limits()
    timelines = Timelines(store, WorkerThreads(limits), 0.1, always)  # type: ignore[arg-type]
    request = request_of(asked, runtime.items, replay=True)

    async def ask() -> list[Progress[Filling]]:
        runner, found = AwaitingRunner(limits), []
        for _ in range(times):
            recall = timelines.recall(runtime.items, request, **more)  # type: ignore[arg-type]
            stages = (*recall, *banner_stages(runtime, NAMES, limits))
            state = Filling(request=request, per_source=50, slot_count=4)
            found.append(await runner.run(start(state, stages), as_it_is, time.perf_counter() + 10))
        return found

    return asyncio.run(ask())


def test_a_remembered_history_gives_the_banner_that_a_carried_one_gives(runtime: Runtime) -> None:
    ids = ["books-001", "gone", *[f"books-{k % 40:03d}" for k in range(60)], "shoes-004"]
    times = [NOON - 1_000 + place for place in range(len(ids))]
    kinds = [int(EventKind.view)] * len(ids)
    carried = pb.History(item_ids=ids, kinds=kinds, ts_us=times)
    (own,) = answered(runtime, Store(), context(history=carried, ts_us=NOON))
    (recalled,) = answered(runtime, Store(Remembered(ids, kinds, times)), context(ts_us=NOON))
    assert recalled.state.slots == own.state.slots and not recalled.degraded
    ours, theirs = recalled.state.request.history, own.state.request.history
    assert len(ours) == HISTORY_LIMIT
    for name in ("items", "kinds", "ts"):
        assert getattr(ours, name).tolist() == getattr(theirs, name).tolist()
        assert getattr(ours, name).dtype == getattr(theirs, name).dtype
    assert {"timeline", "pool", "fill"} <= set(recalled.stage_us) and "timeline" not in own.stage_us


def test_a_request_with_a_history_does_not_ask_the_store_unless_told_to(runtime: Runtime) -> None:
    store = Store(Remembered(["books-002", "books-001"], [0, 0], [NOON - 9, NOON - 8]))
    asked = context(history=pb.History(item_ids=["books-001", "shoes-001"], ts_us=[NOON - 5, NOON - 1]), ts_us=NOON)
    (done,) = answered(runtime, store, asked)
    assert store.asked == 0 and len(done.state.request.history) == 2
    (done,) = answered(runtime, store, asked, always=True)
    ids = runtime.items.items.ids_at(done.state.request.history.items)
    assert list(ids) == ["books-002", "books-001", "shoes-001"]


def test_kinds_are_excluded_in_what_is_remembered_too(runtime: Runtime) -> None:
    bought = Remembered(["books-039", "books-038"], [EventKind.sale, EventKind.view], [NOON - 9, NOON - 8])
    (done,) = answered(runtime, Store(bought), context(ts_us=NOON), exclude_kinds=[EventKind.sale])
    shown = [slot.item_id for slot in done.state.slots]
    assert "books-039" not in shown and "books-038" in shown


def test_a_late_store_costs_its_limit_then_nothing_and_is_marked(runtime: Runtime) -> None:
    store = Store(seconds=2.0)
    found = answered(runtime, store, context(ts_us=NOON), times=4)
    assert [one.degraded for one in found] == [("timeline: late",)] * 2 + [("timeline: stuck",)] * 2
    assert all(len(one.state.slots) == 4 for one in found)
    assert store.asked == 2


def test_a_store_that_fails_is_marked_and_costs_only_the_history(runtime: Runtime) -> None:
    (done,) = answered(runtime, Store(fails=True), context(ts_us=NOON))
    assert done.degraded == ("timeline: away",) and len(done.state.slots) == 4


def test_what_was_seen_is_read_with_the_history_if_a_rule_asks(runtime: Runtime) -> None:
    (done,) = answered(runtime, Store(), context(ts_us=NOON), seen_seconds=60)
    assert done.state.seen == {"books-001": Seen(2, 1, NOON - 60_000_000)}
    (done,) = answered(runtime, Store(), context(ts_us=NOON))
    assert done.state.seen is None
