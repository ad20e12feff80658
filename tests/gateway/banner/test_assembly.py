"""Pooling and assembly: sets of sources kept, order of sources without effect, failures left out and marked."""

import time
from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from candidates.pool import pool_proposals
from candidates.proposals import Proposal
from data.items import ItemTable
from data.request import Request
from gateway.banner.assembly import assemble, candidate_stages
from gateway.banner.proposing import Proposing
from gateway.banner.runtime import Runtime
from gateway.banner.stages import run, start
from tests.support.gateway.stand_ins import Faults, PriceScorer, StepSource, catalog

NOW = 1_790_000_000_000_000


@pytest.fixture
def runtime() -> Runtime:
    items = ItemTable.of(catalog())
    sources = {name: StepSource(name, items, 4 * k, Faults()) for k, name in enumerate(("gbo", "cbo", "led"))}
    return Runtime("v", True, items, dict(sources), PriceScorer(items, Faults()))


def _request(runtime: Runtime, merchant: str = "books") -> Request:
    return Request("u", runtime.items.merchants.position(merchant), "FR", NOW)


def _asked(runtime: Runtime) -> Proposing:
    return Proposing(request=_request(runtime), per_source=20)


def _proposal(items: list[int]) -> Proposal:
    return Proposal(np.array(items, np.int32), np.zeros(len(items), np.float32))


class _Failing:
    name = "led"

    def propose(self, request: Request, k: int) -> Proposal:
        raise ValueError("no")


class _Foreign:
    name = "led"

    def propose(self, request: Request, k: int) -> Proposal:
        return Proposal(np.array([0, 69], np.int32), np.array([1, 0], np.float32))


@given(
    st.dictionaries(
        st.sampled_from(["gbo", "cbo", "led", "new"]),
        st.lists(st.integers(0, 30), unique=True, max_size=12),
        min_size=1,
    )
)
def test_a_pool_is_the_union_and_remembers_who_proposed_what_at_which_place(lists: dict[str, list[int]]) -> None:
    pools = [pool_proposals({name: _proposal(lists[name]) for name in names}) for names in permutations(lists)]
    expected = sorted({item for items in lists.values() for item in items})
    for pool in pools:
        assert pool.items.tolist() == expected
        for row, item in enumerate(expected):
            assert pool.sources_of(np.array([row])) == [
                tuple(sorted(name for name, items in lists.items() if item in items))
            ]
            assert pool.best_rank[row] == min(items.index(item) for items in lists.values() if item in items)
        order = [expected[row] for row in pool.own_order()]
        assert order == sorted(expected, key=lambda item: (pool.best_rank[expected.index(item)], item))


def test_a_banner_does_not_depend_on_the_order_of_the_sources(runtime: Runtime) -> None:
    banners = [assemble(runtime, _request(runtime), names, 6) for names in permutations(["gbo", "cbo", "led"])]
    assert len({banner.slots for banner in banners}) == 1
    assert banners[0].degraded == ()


def test_slots_follow_the_ranker_and_ties_fall_to_the_lower_position(runtime: Runtime) -> None:
    class Flat(PriceScorer):
        def score(self, features):  # type: ignore[no-untyped-def]
            return np.round(super().score(features), 1)

    flat = replace(runtime, scorer=Flat(runtime.items, Faults()))
    slots = assemble(flat, _request(runtime), ["gbo", "led"], 20).slots
    assert [(-slot.score, slot.item) for slot in slots] == sorted((-slot.score, slot.item) for slot in slots)
    assert [slot.position for slot in slots] == list(range(20))


def test_stage_times_add_up_to_the_total(runtime: Runtime) -> None:
    began = time.perf_counter_ns() // 1000
    banner = assemble(runtime, _request(runtime), ["gbo", "cbo", "led"], 6)
    assert list(banner.stage_us) == ["gbo", "cbo", "led", "pool", "ranker", "fill"]
    assert 0 < sum(banner.stage_us.values()) <= time.perf_counter_ns() // 1000 - began
    progress = run(start(_asked(runtime), candidate_stages(runtime, ["gbo", "led"]), began))
    assert sum(progress.stage_us.values()) == progress.since_us - began


@pytest.mark.parametrize(("source", "mark"), [(_Failing(), "led: ValueError"), (_Foreign(), "led: proposed another")])
def test_a_source_that_fails_is_left_out_and_marked(runtime: Runtime, source: object, mark: str) -> None:
    broken = replace(runtime, sources=runtime.sources | {"led": source})  # type: ignore[dict-item]
    banner = assemble(broken, _request(runtime), ["gbo", "cbo", "led"], 6)
    assert banner.slots == assemble(runtime, _request(runtime), ["gbo", "cbo"], 6).slots
    assert len(banner.degraded) == 1 and banner.degraded[0].startswith(mark)


def test_a_source_that_the_bundle_lacks_is_marked(runtime: Runtime) -> None:
    banner = assemble(runtime, _request(runtime), ["gbo", "video"], 6)
    assert len(banner.slots) == 6 and banner.degraded == ("video: not in this bundle",)


@pytest.mark.parametrize("fault", ["missing", "raise", "nan", "short"])
def test_without_a_ranker_the_sources_own_first_choices_come_first(runtime: Runtime, fault: str) -> None:
    class Broken(PriceScorer):
        def score(self, features):  # type: ignore[no-untyped-def]
            if fault == "raise":
                raise RuntimeError("no")
            scores = super().score(features)
            return scores[1:] if fault == "short" else np.where(np.arange(len(scores)) == 1, np.nan, scores)

    broken = replace(runtime, scorer=None if fault == "missing" else Broken(runtime.items, Faults()))
    banner = assemble(broken, _request(runtime), ["gbo", "cbo", "led"], 6)
    first = runtime.items.slice_of(runtime.items.merchants.position("books")).start
    assert [slot.item - first for slot in banner.slots] == [0, 4, 8, 1, 5, 9]
    assert [slot.score for slot in banner.slots] == [1, 1, 1, 0.5, 0.5, 0.5]
    assert banner.features is None
    assert len(banner.degraded) == 1 and banner.degraded[0].startswith("ranker: ")


def test_all_sources_failing_still_gives_a_banner(runtime: Runtime) -> None:
    broken = replace(runtime, sources={"led": _Failing()})  # type: ignore[dict-item]
    banner = assemble(broken, _request(runtime), ["led"], 6)
    assert banner.slots == () and banner.degraded == ("led: ValueError",)


def test_a_merchant_with_fewer_items_than_slots_fills_what_it_can(runtime: Runtime) -> None:
    assert len(assemble(runtime, _request(runtime, "tiny"), ["gbo", "led"], 6).slots) == 3
    assert assemble(runtime, _request(runtime, "empty"), ["gbo", "led"], 6).slots == ()


def test_without_a_late_stage_what_was_done_is_kept_and_its_result_counts_for_nothing(runtime: Runtime) -> None:
    before = start(_asked(runtime), candidate_stages(runtime, ["gbo", "led"])).advanced()
    further = run(before.without_next("late"))
    assert list(before.advanced().state.proposals) == ["gbo", "led"]  # led comes back too late: another answer
    assert further.degraded == ("led: late",) and list(further.state.proposals) == ["gbo"]
    assert list(before.state.proposals) == ["gbo"] and before.next is not None  # nothing was changed in place
    assert list(further.stage_us) == ["gbo", "led"]
