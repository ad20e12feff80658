"""The log stage: what goes wrong in it leaves the banner standing, marked, and is told to the operator."""

import threading
import time
from collections.abc import Sequence

import numpy as np
import pytest

from candidates.proposals import NOTHING
from data.eventlog import EventLogError, LogWriter
from data.items import ItemTable
from data.request import History, Request
from gateway.banner.assembly import banner_stages
from gateway.banner.filling import Filling
from gateway.banner.runtime import Runtime
from gateway.banner.stages import Progress, run, start
from gateway.experiment.populations import DEFAULT_POPULATIONS, load_experiment
from gateway.log.display_log import DisplayLog
from gateway.log.displays import LogDisplay
from gateway.log.rate_limited import RateLimitedLog
from proto.tandem.v1.log_pb2 import DisplayRecord, LogRecord
from proto.tandem.v1.tandem_pb2 import StageTime
from tests.support.gateway.stand_ins import Faults, PriceScorer, StepSource, catalog


class ThreadsWriter(LogWriter):
    """Begins nothing in the background: `DisplayLog`'s thread writes."""

    def begin_records(self, records: Sequence[bytes]) -> None:
        return None


class BrokenWriter(ThreadsWriter):
    def __init__(self, error: Exception) -> None:
        self._error = error

    def append_records(self, records: Sequence[bytes]) -> None:
        raise self._error


class KeepingWriter(ThreadsWriter):
    """Keeps what it is given; hangs while `free` is not set."""

    def __init__(self) -> None:
        self.kept: list[bytes] = []
        self.free = threading.Event()
        self.free.set()

    def append_records(self, records: Sequence[bytes]) -> None:
        self.free.wait(10)
        self.kept += records


def shop(scorer: bool = True) -> Runtime:
    items = ItemTable.of(catalog())
    price = PriceScorer(items, Faults()) if scorer else None
    return Runtime("v", True, items, {"led": StepSource("led", items, 0, Faults())}, price)


def banner(runtime: Runtime, log: DisplayLog, user: str = "u") -> Progress[Filling]:
    assigned = load_experiment(DEFAULT_POPULATIONS).assignment(user)
    stage = LogDisplay(log, runtime, assigned, RateLimitedLog())
    history = History(np.array([3, 1], np.int32), np.zeros(2, np.int8), np.full(2, 5, np.int64))
    request = Request(user, runtime.items.merchants.position("books"), "FR", 1_790_000_000_000_000, history, "pub", "")
    return start(
        Filling(request=request, per_source=20, slot_count=3), banner_stages(runtime, ["led", "gone"], log=stage)
    )


def as_a_message(done: Progress[Filling], runtime: Runtime) -> DisplayRecord:
    """The record, field by field."""
    state, items = done.state, runtime.items
    assigned = load_experiment(DEFAULT_POPULATIONS).assignment(state.request.user_id)
    record = DisplayRecord(
        display_id=state.display_id,
        ts_us=state.request.ts,
        user_id=state.request.user_id,
        merchant_id=items.merchants.id(state.request.merchant),
        country=state.request.country,
        publisher=state.request.publisher,
        device=state.request.device,
        experiment=assigned.experiment.name,
        population=assigned.population.name,
        config_hash=assigned.experiment.config_hash,
        bundle_version=runtime.version,
        degraded=[mark for mark in done.degraded if not mark.startswith("log")],
        # the log tells the time that it took for the display before
        stage_times=[StageTime(stage=name, us=us if name != "log" else 0) for name, us in done.stage_us.items()],
    )
    dense = [()] * len(state.slots)
    if state.features is not None:
        dense = np.asarray(state.features.dense)[state.shown].tolist()
        record.recent_items.extend(items.items.ids_at(state.features.recent_items))
        record.recent_categories.extend(items.categories.ids_at(state.features.recent_categories))
        record.dense_names.extend(state.features.dense_names)
    for slot, values in zip(state.slots, dense, strict=True):
        record.slots.add(
            position=slot.position,
            item_id=slot.item_id,
            category=slot.category,
            sources=slot.sources,
            score=slot.score,
            dense=values,
        )
    return record


@pytest.mark.parametrize("scorer", [True, False])
def test_a_record_put_together_from_bytes_is_the_message_field_by_field(scorer: bool) -> None:
    runtime, writer = shop(scorer), KeepingWriter()
    done = run(banner(runtime, DisplayLog(writer, 1)))
    (kept,) = writer.kept
    assert LogRecord.FromString(kept).display == as_a_message(done, runtime)
    assert len(done.state.slots) == 3 and "gone: not in this bundle" in done.degraded


def test_a_log_that_hangs_costs_one_banner_its_limit_and_the_next_ones_nothing() -> None:
    runtime, writer = shop(), KeepingWriter()
    log = DisplayLog(writer, 0.05)
    writer.free.clear()
    assert run(banner(runtime, log)).degraded[-1] == "log: late"
    began = time.perf_counter()
    assert [run(banner(runtime, log)).degraded[-1] for _ in range(20)] == ["log: late"] * 20
    assert time.perf_counter() - began < 0.5
    writer.free.set()
    until = time.monotonic() + 5
    while run(banner(runtime, log)).state.display_id == "" and time.monotonic() < until:
        time.sleep(0.01)
    assert run(banner(runtime, log)).state.display_id


def test_a_banner_without_slots_is_no_display() -> None:
    runtime, writer = shop(), KeepingWriter()
    runtime.sources["led"].propose = lambda request, k: NOTHING  # type: ignore[method-assign]
    done = run(banner(runtime, DisplayLog(writer, 1)))
    assert done.state.slots == () and done.state.display_id == "" and writer.kept == []
    assert "log" not in dict(done.left_out)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (EventLogError("the disk is full"), "the disk is full"),
        (KeyError("odd"), "a display is not logged: KeyError('odd')"),
    ],
)
def test_a_display_that_cannot_be_logged_is_shown_without_an_id(
    error: Exception, told: str, caplog: pytest.LogCaptureFixture
) -> None:
    items = ItemTable.of(catalog())
    runtime = Runtime("v", True, items, {"led": StepSource("led", items, 0, Faults())}, PriceScorer(items, Faults()))
    assigned = load_experiment(DEFAULT_POPULATIONS).assignment("u")
    log = LogDisplay(DisplayLog(BrokenWriter(error), 1), runtime, assigned, RateLimitedLog())
    request = Request("u", items.merchants.position("books"), "FR", 1_790_000_000_000_000)
    asked = Filling(request=request, per_source=20, slot_count=3)
    done = run(start(asked, banner_stages(runtime, ["led"], log=log)))
    assert len(done.state.slots) == 3 and done.state.display_id == "" and done.degraded == ("log: not written",)
    assert caplog.messages == [told]
