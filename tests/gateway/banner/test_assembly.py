"""Pooling and assembly: sets of sources kept, order of sources without effect, failures left out and marked."""

import time
from dataclasses import replace
from itertools import permutations
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from candidates.merge_order import MergeOrder, MergeRule
from candidates.pool import pool_proposals
from candidates.proposals import Proposal
from data.filters import item_filter
from data.items import ItemTable
from data.request import Request
from gateway.banner.assembly import assemble, candidate_stages
from gateway.banner.proposing import Proposing
from gateway.banner.runtime import Runtime
from gateway.banner.stages import run, start
from tests.support.gateway.stand_ins import Faults, PriceScorer, StepSource, catalog, step_runtime

NOW = 1_790_000_000_000_000


@pytest.fixture
def runtime() -> Runtime:
    return step_runtime("gbo", "cbo", "led")


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
            place = min(items.index(item) for items in lists.values() if item in items)
            assert pool.merit[row] == 1 / (1 + place)
        order = [expected[row] for row in pool.own_order()]
        assert order == sorted(expected, key=lambda item: (-pool.merit[expected.index(item)], item))


@given(
    st.dictionaries(
        st.sampled_from(["gbo", "cbo", "led", "new"]), st.lists(st.integers(0, 30), unique=True, max_size=12)
    ),
    st.lists(st.sampled_from([0.0, 1e-6, 0.03, 0.1, 1.0]), min_size=4, max_size=4),
    st.sampled_from([1.0, 5.0, 20.0]),
    st.booleans(),
)
def test_a_merge_is_by_weighted_reciprocal_ranks(
    lists: dict[str, list[int]], weights: list[float], k: float, best: bool
) -> None:
    names = tuple(sorted(lists))
    rule = MergeRule(sources=names, weights=tuple(weights[: len(names)]), k=k, best=best)
    pool = pool_proposals({name: _proposal(items) for name, items in lists.items()}, MergeOrder({names: rule}))
    merits: dict[int, float] = {}
    for name, weight in zip(names, weights, strict=False):
        for place, item in enumerate(lists[name]):
            worth = weight / (k + place)
            merits[item] = max(merits.get(item, 0.0), worth) if best else merits.get(item, 0.0) + worth
    assert pool.items[pool.own_order()].tolist() == sorted(merits, key=lambda item: (-merits[item], item))
    assert pool.merit.tolist() == [merits[item] for item in sorted(merits)]


@given(st.permutations(range(12)), st.permutations(range(12)))
def test_a_source_can_come_first_as_it_is_with_the_others_filling_up(first: list[int], second: list[int]) -> None:
    proposals = {"led": _proposal(first[:7]), "gbo": _proposal(second)}
    order = MergeOrder({("gbo", "led"): MergeRule(sources=("gbo", "led"), weights=(1e-6, 1.0))})
    pool = pool_proposals(proposals, order)
    filling = [item for item in second if item not in first[:7]]
    assert pool.items[pool.own_order()].tolist() == first[:7] + filling


def test_each_set_of_sources_has_a_rule_of_its_own_and_a_late_source_changes_the_set(runtime: Runtime) -> None:
    rules = [
        MergeRule(sources=("cbo", "gbo", "led"), weights=(1e-6, 1e-12, 1.0)),
        MergeRule(sources=("cbo", "gbo"), weights=(1.0, 1e-6)),
    ]
    merged = replace(runtime, scorer=None, order=MergeOrder({rule.sources: rule for rule in rules}))
    first = runtime.items.slice_of(runtime.items.merchants.position("books")).start

    def shown(runtime: Runtime, *names: str) -> list[int]:
        return [slot.item - first for slot in assemble(runtime, _request(runtime), names, 6).slots]

    assert shown(merged, "gbo", "cbo", "led") == [8, 9, 10, 11, 12, 13]
    assert shown(merged, "gbo", "cbo") == [4, 5, 6, 7, 8, 9]
    assert shown(merged, "gbo", "led") == [0, 8, 1, 9, 2, 10]  # no rule: in turns
    late = replace(merged, sources=merged.sources | {"led": _Failing()})  # type: ignore[dict-item]
    assert shown(late, "gbo", "cbo", "led") == [4, 5, 6, 7, 8, 9]


def test_a_shadow_leaves_the_order_to_the_sources_unmarked_and_its_features_to_the_log(runtime: Runtime) -> None:
    shadow = assemble(replace(runtime, ranker_share=0.0), _request(runtime), ["gbo", "cbo", "led"], 6)
    without = assemble(replace(runtime, scorer=None), _request(runtime), ["gbo", "cbo", "led"], 6)
    assert shadow.slots == without.slots and shadow.degraded == () and shadow.features is not None


@given(st.floats(0, 1))
def test_a_ranker_with_a_share_is_merged_with_the_sources_order(share: float) -> None:
    items = ItemTable.of(catalog())
    sources = {name: StepSource(name, items, 4 * k, Faults()) for k, name in enumerate(("gbo", "led"))}
    runtime = Runtime("v", True, items, dict(sources), PriceScorer(items, Faults()))
    banners = {
        one: assemble(replace(runtime, ranker_share=one), _request(runtime), ["gbo", "led"], 40).slots
        for one in (0.0, share, 1.0)
    }
    own, ranked = ([slot.item for slot in banners[one]] for one in (0.0, 1.0))
    merits = {item: (1 - share) / (1 + own.index(item)) + share / (1 + ranked.index(item)) for item in own}
    assert [slot.item for slot in banners[share]] == sorted(own, key=lambda item: (-merits[item], item))


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


@given(
    st.sampled_from(["books", "shoes", "tiny", "empty"]),
    st.lists(st.sampled_from(["books", "books/1", "Shoes/2", "none"]), max_size=2),
    st.none() | st.sampled_from([0.0, 9.0, 30.0]),
    st.integers(1, 12),
)
def test_nothing_outside_a_filter_is_shown_and_a_banner_is_full_where_enough_items_pass(
    merchant: str, categories: list[str], low: float | None, slots: int
) -> None:
    """Whatever the sources know: one of them here has never heard of filters."""
    items = ItemTable.of(catalog())
    deaf = StepSource("led", items, 8, Faults())
    deaf_to_filters = SimpleNamespace(name="led", propose=lambda one, k: deaf.propose(replace(one, allowed=None), k))
    sources = {"gbo": StepSource("gbo", items, 0, Faults()), "led": deaf_to_filters}
    made = Runtime("v", True, items, sources, PriceScorer(items, Faults()))
    asked = _request(made, merchant)
    allowed = made.filters.allowed(asked.merchant, item_filter(categories, low))
    banner = assemble(made, replace(asked, allowed=allowed), ("gbo", "led"), slots)
    own = np.arange(len(items))[items.slice_of(asked.merchant)]
    possible = own[items.available[own]] if allowed is None else allowed.items
    assert {slot.item for slot in banner.slots} <= set(possible.tolist())
    assert len(banner.slots) == min(slots, len(possible))
