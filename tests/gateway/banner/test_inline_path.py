"""Bounded sources are answered on the spot; what promises nothing, or breaks its promise, goes to a worker thread."""

from types import SimpleNamespace

import pytest

import gateway.banner.inline_path
from data.items import ItemTable
from data.request import Request
from gateway.banner.assembly import banner_stages, candidate_stages
from gateway.banner.filling import Filling
from gateway.banner.inline_path import InlinePath
from gateway.banner.proposing import Proposing
from gateway.banner.runtime import Runtime
from gateway.banner.stages import Progress, run, start
from gateway.limits import Limits
from tests.support.gateway.stand_ins import Faults, StepSource, catalog


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
    assert not inline.takes(_asked(runtime, "gbo", "unknown"))
    banner = Filling(request=_request(runtime), per_source=5, slot_count=2)
    assert not inline.takes(start(banner, banner_stages(runtime, ["gbo"])))
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
