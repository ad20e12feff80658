"""Bounded sources are answered on the spot; whoever promises nothing, or breaks the promise, goes by the lanes."""

from types import SimpleNamespace

import pytest

import gateway.banner.inline_path
from data.items import ItemTable
from data.request import Request
from gateway.banner.assembly import Draft
from gateway.banner.inline_path import Express
from gateway.banner.runtime import Runtime
from gateway.limits import Limits
from tests.support.gateway.stand_ins import Faults, StepSource, catalog


class BoundedSource(StepSource):
    bounded = True


@pytest.fixture
def runtime() -> Runtime:
    items = ItemTable.of(catalog())
    sources = {name: BoundedSource(name, items, 4 * k, Faults()) for k, name in enumerate(("gbo", "led"))}
    return Runtime("v", True, items, {**sources, "cbo": StepSource("cbo", items, 1, Faults())}, None)


def _draft(runtime: Runtime, *names: str, rank: bool = False) -> Draft:
    request = Request("u", runtime.items.merchants.position("books"), "FR", 1_790_000_000_000_000)
    return Draft(runtime, request, names, 5, rank=rank)


def test_only_drafts_whose_every_step_is_bounded_are_taken(runtime):
    express = Express(Limits())
    assert express.takes(_draft(runtime, "gbo", "led"))
    assert not express.takes(_draft(runtime, "gbo", "cbo"))
    assert not express.takes(_draft(runtime, "gbo", "unknown"))
    assert not express.takes(_draft(runtime, "gbo", rank=True))


def test_an_answer_on_the_spot_is_the_answer_of_the_steps(runtime):
    twin = _draft(runtime, "gbo", "led")
    while twin.step is not None:
        twin.take_step()
    found = Express(Limits()).finish(_draft(runtime, "gbo", "led"), lambda done: done)
    assert found.step is None and not found.degraded
    assert list(found.proposals) == ["gbo", "led"]
    for name, proposal in found.proposals.items():
        assert proposal.items.tolist() == twin.proposals[name].items.tolist() and len(proposal.items) == 5
    assert set(found.watch.stage_us) == {"gbo", "led"}


@pytest.fixture
def clock(monkeypatch):
    """The time by which Express judges, in seconds; `led` takes 30 ms of it."""
    now = [100.0]
    monkeypatch.setattr(gateway.banner.inline_path, "time", SimpleNamespace(perf_counter=lambda: now[0]))
    slow = BoundedSource.propose

    def propose(self, request, k):
        now[0] += 0.03 if self.name == "led" else 0
        return slow(self, request, k)

    monkeypatch.setattr(BoundedSource, "propose", propose)
    return now


def test_a_source_that_overran_its_limit_goes_by_the_lanes_for_a_moment_and_others_do_not(runtime, clock):
    express = Express(Limits(source_ms=10))
    late = express.finish(_draft(runtime, "gbo", "led"), lambda done: done)
    assert len(late.proposals["led"]) == 5  # it is there, so it is shown
    assert not express.takes(_draft(runtime, "led")) and not express.takes(_draft(runtime, "gbo", "led"))
    assert express.takes(_draft(runtime, "gbo"))
    clock[0] += 0.251
    assert express.takes(_draft(runtime, "gbo", "led"))


def test_a_source_that_overruns_again_and_again_goes_by_the_lanes_ever_longer(runtime, clock, caplog):
    express = Express(Limits(source_ms=10))
    for seconds in (0.25, 0.5, 1, 2, 4, 8, 10, 10):
        express.finish(_draft(runtime, "led"), lambda done: done)
        assert f"for {seconds:.2f} s" in caplog.messages[-1]
        clock[0] += seconds - 0.01
        assert not express.takes(_draft(runtime, "led"))
        clock[0] += 0.02
        assert express.takes(_draft(runtime, "led"))
    clock[0] += 10  # so long without one is forgotten
    express.finish(_draft(runtime, "led"), lambda done: done)
    assert "for 0.25 s" in caplog.messages[-1]


def test_a_bounded_source_that_fails_is_left_out_and_marked(runtime, monkeypatch):
    def fail(request, k):
        raise ValueError

    monkeypatch.setattr(runtime.sources["led"], "propose", fail)
    found = Express(Limits()).finish(_draft(runtime, "gbo", "led"), lambda done: done)
    assert list(found.proposals) == ["gbo"] and found.degraded == ["led: ValueError"]
