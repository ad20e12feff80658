"""How the sources' proposals are merged is chosen by what held-out users took, and served as it was measured."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from candidates.errors import CandidatesError
from candidates.evaluation import HeldOut
from candidates.merge_order import FILE, ROUND_ROBIN, MergeOrder, MergeRule
from candidates.merging import SLOTS, Asked, _Places, choose_order, evaluate_order
from candidates.pool import pool_proposals
from candidates.proposals import Proposal
from candidates.sources import load_sources_from
from data.request import Request

NAMES = ("gbo", "cbo", "led")


def _proposal(items: list[int]) -> Proposal:
    return Proposal(np.array(items, np.int32), np.zeros(len(items), np.float32))


def _held_out(targets: list[list[int]]) -> list[HeldOut]:
    return [
        HeldOut(Request(f"u{number}", 0, "", number), np.array(one, np.int32)) for number, one in enumerate(targets)
    ]


class Told:
    """Proposes what was written down for each request (its `ts`)."""

    def __init__(self, lists: list[list[int]]) -> None:
        self.lists = lists

    def propose(self, request: Request, k: int) -> Proposal:
        return _proposal(self.lists[request.ts][:k])


def _sources(count: int, hits: dict[str, float], seed: int = 0) -> tuple[dict[str, Any], list[HeldOut]]:
    """Sources whose first place holds the (only) target with these probabilities."""
    random = np.random.default_rng(seed)
    targets = [[int(random.integers(1000))] for _ in range(count)]
    lists: dict[str, list[list[int]]] = {name: [] for name in hits}
    for (target,) in targets:
        for name, chance in hits.items():
            others = (1000 + random.choice(1000, 40, replace=False)).tolist()
            lists[name].append([target, *others] if random.random() < chance else others)
    return {name: Told(one) for name, one in lists.items()}, _held_out(targets)


@given(
    st.lists(
        st.tuples(
            st.fixed_dictionaries({name: st.lists(st.integers(0, 60), unique=True, max_size=40) for name in NAMES}),
            st.lists(st.integers(0, 60), unique=True, min_size=1, max_size=9),
        ),
        min_size=1,
        max_size=4,
    ),
    st.tuples(*[st.sampled_from([1e-6, 0.03, 0.1, 1.0])] * 3),
    st.sampled_from([1.0, 20.0]),
    st.booleans(),
)
def test_a_rule_is_measured_by_the_slots_that_it_would_fill(
    asked: list[tuple[dict[str, list[int]], list[int]]], weights: tuple[float, ...], k: float, best: bool
) -> None:
    names = tuple(sorted(NAMES))
    rule = MergeRule(sources=names, weights=weights, k=k, best=best)
    proposals = [{name: _proposal(items) for name, items in lists.items()} for lists, _ in asked]
    targets = [np.array(one, np.int32) for _, one in asked]
    found = _Places.of(Asked(proposals, targets, ["u"] * len(asked)), names).recalls(rule)
    for one, wanted, recall in zip(proposals, targets, found.tolist(), strict=True):
        pool = pool_proposals(one, MergeOrder({names: rule}))
        shown = pool.items[pool.own_order()].tolist()
        expected = [len(set(shown[:slots]) & set(wanted.tolist())) / min(slots, len(wanted)) for slots in SLOTS]
        assert recall == pytest.approx(np.mean(expected))


def test_the_best_source_comes_first_in_every_set_that_has_it() -> None:
    sources, held_out = _sources(200, {"gbo": 0.2, "cbo": 0.8, "led": 0.3})
    order, figures = choose_order(sources, held_out)
    assert set(order.rules) == {("cbo", "gbo"), ("cbo", "led"), ("gbo", "led"), ("cbo", "gbo", "led")}
    for names, rule in order.rules.items():
        weights = dict(zip(names, rule.weights, strict=True))
        leader = "cbo" if "cbo" in names else "led"
        assert weights[leader] == max(weights.values())
        told = figures["chosen"][" + ".join(name for name in NAMES if name in names)]
        assert told["recall"]["mean"] >= max(one["mean"] for one in told["alone"].values())
    elsewhere = evaluate_order(order, *_sources(200, {"gbo": 0.2, "cbo": 0.8, "led": 0.3}, seed=1))
    assert elsewhere["best"] == "cbo" and elsewhere["less best"] >= -elsewhere["less best_se"]


def test_where_validation_cannot_tell_the_more_personal_source_comes_first() -> None:
    sources, held_out = _sources(40, {"gbo": 0.5, "cbo": 0.5, "led": 0.5})
    order, _ = choose_order(sources, held_out)
    rule = order.rule(("cbo", "gbo", "led"))
    assert rule.weights[rule.sources.index("led")] == 1.0


def test_few_requests_choose_nothing_and_the_sources_take_turns() -> None:
    sources, held_out = _sources(5, {"gbo": 0.0, "led": 1.0})
    order, figures = choose_order(sources, held_out)
    assert order == ROUND_ROBIN and figures == {"requests": 5, "chosen": {}}
    assert evaluate_order(order, sources, []) == {"users": 0, "requests": 0}


def test_an_order_is_kept_in_the_bundle_and_a_damaged_one_is_named(tmp_path: Path) -> None:
    rule = MergeRule(sources=("cbo", "led"), weights=(0.1, 1.0), k=5.0)
    MergeOrder({rule.sources: rule}).save(tmp_path)
    assert MergeOrder.load(tmp_path) == MergeOrder({rule.sources: rule})
    assert MergeOrder.load(tmp_path / "nothing") == ROUND_ROBIN
    for wrong in ("{", "[1]", json.dumps([{"sources": ["led", "cbo"], "weights": [1.0, 1.0]}])):
        (tmp_path / FILE).write_text(wrong)
        with pytest.raises(CandidatesError, match=FILE):
            MergeOrder.load(tmp_path)


def test_training_chooses_and_measures_the_order_of_the_bundle(trained: Any) -> None:
    merge = trained.metrics["merge"]
    assert set(merge["chosen"]) == {"gbo + cbo", "gbo + led", "cbo + led", "gbo + cbo + led"}
    assert merge["recall"]["users"] == trained.metrics["recall"]["led"]["users"]
    order = MergeOrder.load(trained.folder)
    assert len(order.rules) == 4
    sources = load_sources_from(trained.folder, trained.items)
    request = Request("nobody", 1, "AA", 0)
    pool = pool_proposals({name: one.propose(request, 20) for name, one in sources.items()}, order)
    assert len(pool) >= 20 and (np.diff(pool.merit[pool.own_order()]) <= 0).all()
