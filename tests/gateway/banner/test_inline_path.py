"""Bounded stages are answered on the spot; what promises nothing, or breaks its promise, goes to a worker thread."""

import asyncio
import time
from dataclasses import replace
from types import SimpleNamespace
from typing import ClassVar

import pytest

import gateway.banner.inline_path
from data.items import ItemTable
from data.request import Request
from gateway.banner.assembly import banner_stages, candidate_stages
from gateway.banner.filling import Filling
from gateway.banner.inline_path import InlinePath
from gateway.banner.proposing import Proposing
from gateway.banner.runtime import Runtime
from gateway.banner.stages import LeftOut, Progress, Stage, State, run, start
from gateway.settings.limits import Limits
from tests.support.gateway.stand_ins import Faults, PriceScorer, StepSource, catalog


class BoundedSource(StepSource):
    bounded = True


@pytest.fixture
def runtime() -> Runtime:
    items = ItemTable.of(catalog())
    sources = {name: BoundedSource(name, items, 4 * k, Faults()) for k, name in enumerate(("gbo", "led"))}
    return Runtime("v", True, items, {**sources, "cbo": StepSource("cbo", items, 1, Faults())}, None)


LIMITS = Limits(source_ms=10)


def _request(runtime: Runtime) -> Request:
    return Request("u", runtime.items.merchants.position("books"), "FR", 1_790_000_000_000_000)


def _asked(runtime: Runtime, *names: str) -> Progress[Proposing]:
    return start(Proposing(request=_request(runtime), per_source=5), candidate_stages(runtime, names, LIMITS))


def test_only_answers_whose_every_stage_is_bounded_are_taken(runtime):
    inline = InlinePath()
    assert inline.takes(_asked(runtime, "gbo", "led"))
    assert not inline.takes(_asked(runtime, "gbo", "cbo"))
    assert inline.takes(_asked(runtime, "gbo", "unknown"))  # left out at once
    banner = Filling(request=_request(runtime), per_source=5, slot_count=2)
    assert inline.takes(start(banner, banner_stages(runtime, ["gbo"])))
    assert not inline.takes(start(banner, banner_stages(runtime, ["gbo", "cbo"])))
    promising_nothing = replace(runtime, scorer=PriceScorer(runtime.items, Faults()))
    assert not inline.takes(start(banner, banner_stages(promising_nothing, ["gbo"])))
    reasons = candidate_stages(runtime, ["gbo"], explain=2)  # reasons take milliseconds
    assert not inline.takes(start(Proposing(request=_request(runtime), per_source=5), reasons))


def test_an_answer_on_the_spot_is_the_answer_of_the_stages(runtime):
    elsewhere = run(_asked(runtime, "gbo", "led"))
    found = InlinePath().run(_asked(runtime, "gbo", "led"))
    assert found.next is None and not found.degraded
    assert list(found.state.proposals) == ["gbo", "led"]
    for name, proposal in found.state.proposals.items():
        assert proposal.items.tolist() == elsewhere.state.proposals[name].items.tolist() and len(proposal.items) == 5
    assert set(found.stage_us) == {"gbo", "led"}


@pytest.fixture
def clock(monkeypatch):
    """The time by which the inline path judges, in seconds; `led` takes 30 ms of it."""
    now = [100.0]
    monkeypatch.setattr(gateway.banner.inline_path, "time", SimpleNamespace(perf_counter=lambda: now[0]))
    slow = BoundedSource.propose

    def propose(self, request, k):
        now[0] += 0.03 if self.name == "led" else 0
        return slow(self, request, k)

    monkeypatch.setattr(BoundedSource, "propose", propose)
    return now


def test_a_source_that_overran_its_limit_goes_to_the_worker_threads_for_a_moment_and_others_do_not(runtime, clock):
    inline = InlinePath()
    late = inline.run(_asked(runtime, "gbo", "led"))
    assert len(late.state.proposals["led"]) == 5  # it is there, so it is shown
    assert not inline.takes(_asked(runtime, "led")) and not inline.takes(_asked(runtime, "gbo", "led"))
    assert inline.takes(_asked(runtime, "gbo"))
    clock[0] += 0.251
    assert inline.takes(_asked(runtime, "gbo", "led"))


def test_a_source_that_overruns_again_and_again_goes_to_the_worker_threads_ever_longer(runtime, clock, caplog):
    inline = InlinePath()
    for seconds in (0.25, 0.5, 1, 2, 4, 8, 10, 10):
        inline.run(_asked(runtime, "led"))
        assert f"for {seconds:.2f} s" in caplog.messages[-1]
        clock[0] += seconds - 0.01
        assert not inline.takes(_asked(runtime, "led"))
        clock[0] += 0.02
        assert inline.takes(_asked(runtime, "led"))
    clock[0] += 10  # so long without one is forgotten
    inline.run(_asked(runtime, "led"))
    assert "for 0.25 s" in caplog.messages[-1]


def test_a_bounded_source_that_fails_is_left_out_and_marked(runtime, monkeypatch):
    def fail(request, k):
        raise ValueError

    monkeypatch.setattr(runtime.sources["led"], "propose", fail)
    found = InlinePath().run(_asked(runtime, "gbo", "led"))
    assert list(found.state.proposals) == ["gbo"] and found.degraded == ("led: ValueError",)


class Shared(Stage[State]):
    """A stage of one of several answers that share something; it notes who came together."""

    name = "shared"
    bounded = True
    seen: ClassVar[list[int]] = []

    def __init__(self, thing: object, fails: bool = False) -> None:
        self.together, self.fails = thing, fails

    def run(self, progress):
        raise AssertionError("taken together")

    def run_all(self, answers):
        self.seen.append(len(answers))
        return [LeftOut("odd") if one.stages[0].fails else one.state for one in answers]


def test_what_has_arrived_takes_a_shared_step_together_and_each_keeps_its_own_outcome():
    async def ask(stages) -> list[Progress[State]]:
        inline, noted = InlinePath(), lambda done: done
        return await asyncio.gather(*(inline.answer(start(State(), one), noted) for one in stages))

    log, other = object(), object()
    Shared.seen = []
    found = asyncio.run(ask([(Shared(log),), (Shared(log, fails=True),), (Shared(other), Shared(log)), ()]))
    assert sorted(Shared.seen) == [1, 1, 2]
    assert [one.degraded for one in found] == [(), ("shared: odd",), (), ()]
    assert [one.next for one in found] == [None] * 4


def test_a_request_waits_for_strangers_no_longer_than_a_millisecond(monkeypatch):
    class Slow(Stage[State]):
        name, bounded = "slow", True

        def run(self, progress):
            time.sleep(0.002)
            return progress.state

    sizes = []

    async def ask() -> None:
        inline = InlinePath()
        run_all = inline.run_all
        monkeypatch.setattr(inline, "run_all", lambda answers: sizes.append(len(answers)) or run_all(answers))
        await asyncio.gather(*(inline.answer(start(State(), (Slow(),)), lambda done: done) for _ in range(6)))

    asyncio.run(ask())
    assert sizes == [2, 1, 1, 1, 1]  # of a millisecond each, as is thought before any was measured; then they are known


def test_an_answer_that_fails_fails_alone():
    class Failing(Stage[State]):
        name, bounded, optional = "failing", True, False

        def run(self, progress):
            raise ValueError("mine")

    async def ask():
        inline = InlinePath()
        several = (inline.answer(start(State(), stages), lambda done: "answered") for stages in ((Failing(),), ()))
        return await asyncio.gather(*several, return_exceptions=True)

    failed, answered = asyncio.run(ask())
    assert isinstance(failed, ValueError) and answered == "answered"
