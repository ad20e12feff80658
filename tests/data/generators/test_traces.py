"""Algorithms 1 and 2 of the DLRM paper against their naive forms, line by line as the paper prints them."""

from collections import OrderedDict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.errors import DataError
from data.generators.comparison import compare
from data.generators.distances import greater_before, hit_rates, previous_accesses, stack_distances
from data.generators.profile import TraceProfile, load_profiles, save_profiles
from data.generators.recency import RecencyStack
from data.generators.synthetic import Support, drawn_distances, synthetic_trace

traces = st.lists(st.integers(0, 12) | st.integers(0, 10**6), min_size=1, max_size=80)
supports = st.builds(
    Support, st.booleans(), st.none() | st.sampled_from([0.0, 0.1, 0.9]), st.sampled_from(["redraw", "new"])
)


def algorithm_1(trace: list[int]) -> tuple[list[int], list[int]]:
    """The list u, and the stack distance d of every access (whose shares are p)."""
    stack, unique, distances = [], [], []
    for one in trace:
        d = len(stack) - stack.index(one) if one in stack else 0
        if d == 0:
            unique.append(one)
        else:
            del stack[-d]
        stack.append(one)
        distances.append(d)
    return unique, distances


def algorithm_2(
    unique: list[int], weights: dict[int, float], uniform: list[float], support: Support
) -> tuple[list[int], list[int]]:
    """The trace, and the distance drawn for every access."""
    ring, seen, trace, drawn = list(unique), 0, [], []
    for number in uniform:
        possible = [d for d in sorted(weights) if d <= seen]
        if support.adjusted and seen >= len(unique) and len(weights) > 1:
            possible.remove(0)
        everything = sum_in_order([weights[d] for d in sorted(weights)])
        skipped = weights[0] if 0 not in possible else 0.0
        total = sum_in_order([weights[d] for d in sorted(weights) if d <= seen])
        redraw = support.beyond == "redraw" or skipped
        point = skipped + number * ((total if redraw else everything) - skipped)
        d = next((d for d in possible if point < sum_in_order([weights[e] for e in sorted(weights) if e <= d])), None)
        if d is None:
            d = possible[-1] if redraw else 0
        if d == 0:
            one = ring.pop(0)
            seen += 1
        else:
            one = ring.pop(-d)
        ring.append(one)
        trace.append(one)
        drawn.append(d)
    return trace, drawn


def sum_in_order(numbers: list[float]) -> float:
    total = 0.0
    for number in numbers:
        total += number
    return total


@given(traces)
def test_algorithm_1_is_its_naive_form(trace):
    unique, distances = algorithm_1(trace)
    assert stack_distances(np.array(trace)).tolist() == distances
    profile = TraceProfile.of(np.array(trace))
    assert profile.unique.tolist() == unique
    shares = {d: distances.count(d) / len(trace) for d in set(distances)}
    assert dict(zip(profile.distances.tolist(), profile.probabilities.tolist(), strict=True)) == shares


@settings(deadline=None, max_examples=300)
@given(traces, st.integers(0, 120), st.integers(0, 2**32), supports)
def test_algorithm_2_is_its_naive_form(trace, accesses, seed, support):
    profile = TraceProfile.of(np.array(trace))
    uniform = np.random.default_rng(seed).random(accesses)
    weights = dict(zip(profile.distances.tolist(), support.weights(profile).tolist(), strict=True))
    expected, drawn = algorithm_2(profile.unique.tolist(), weights, uniform.tolist(), support)
    assert drawn_distances(profile, uniform, support).tolist() == drawn
    assert synthetic_trace(profile, accesses, seed, support).tolist() == expected


def test_algorithm_2_is_its_naive_form_beyond_one_block_of_the_stack(monkeypatch):
    monkeypatch.setattr(RecencyStack.__init__, "__defaults__", (16,))
    random = np.random.default_rng(1)
    profile = TraceProfile.of((random.random(1500) ** 3 * 400).astype(np.int64))
    for support in (Support(), Support(adjusted=False), Support(beyond="new")):
        uniform = np.random.default_rng(5).random(1200)
        weights = dict(zip(profile.distances.tolist(), support.weights(profile).tolist(), strict=True))
        expected, _ = algorithm_2(profile.unique.tolist(), weights, uniform.tolist(), support)
        assert synthetic_trace(profile, 1200, 5, support).tolist() == expected


@given(traces, st.integers(0, 200), st.integers(0, 99))
def test_a_synthetic_trace_has_the_stack_distances_that_were_drawn(trace, accesses, seed):
    profile = TraceProfile.of(np.array(trace))
    drawn = drawn_distances(profile, np.random.default_rng(seed).random(accesses), Support())
    found = stack_distances(synthetic_trace(profile, accesses, seed))
    new = np.cumsum(drawn == 0) <= len(profile.unique)
    assert found[new].tolist() == drawn[new].tolist()
    assert (found[~new & (drawn == 0)] == len(profile.unique)).all()


@given(st.integers(1, 30), st.integers(1, 40))
def test_once_all_ids_were_seen_the_adjusted_trace_draws_no_new_one(ids, repeats):
    profile = TraceProfile.of(np.tile(np.arange(ids), 2))  # every repeat at distance `ids`
    assert synthetic_trace(profile, ids * repeats, 0).tolist() == list(range(ids)) * repeats


@given(st.lists(st.integers(0, 200), unique=True))
def test_greater_numbers_before_are_counted(values):
    expected = [sum(other > one for other in values[:i]) for i, one in enumerate(values)]
    assert greater_before(np.array(values, np.int64)).tolist() == expected


@given(traces)
def test_previous_accesses_are_the_latest_before(trace):
    expected = [max((j for j in range(i) if trace[j] == one), default=-1) for i, one in enumerate(trace)]
    assert previous_accesses(np.array(trace)).tolist() == expected


@given(st.integers(1, 5), st.lists(st.floats(0, 1, exclude_max=True) | st.none(), max_size=300))
def test_a_recency_stack_is_a_list(block, steps):
    stack, plain = RecencyStack(block), []
    for new, step in enumerate(steps):
        if step is None or not plain:
            one = new
        else:
            distance = 1 + int(step * len(plain))
            one = plain.pop(-distance)
            assert stack.take(distance) == one
        plain.append(one)
        stack.push(one)
        assert len(stack) == len(plain)
    assert [stack.take(1) for _ in plain] == plain[::-1]


@given(traces, st.integers(1, 15))
def test_hit_rates_are_those_of_an_lru_cache(trace, capacity):
    cache, hits = OrderedDict(), 0
    for one in trace:
        hits += one in cache
        cache[one] = True
        cache.move_to_end(one)
        if len(cache) > capacity:
            cache.popitem(last=False)
    profile = TraceProfile.of(np.array(trace))
    assert hit_rates(profile.distances, profile.counts, [capacity]) == pytest.approx([hits / len(trace)])


def test_the_adjustment_raises_new_ids_to_the_threshold_and_keeps_the_others_proportions():
    profile = TraceProfile.of(np.random.default_rng(0).integers(0, 100, 100_000))
    assert profile.probabilities[0] == pytest.approx(0.001)
    share = profile.weights(0.05) / profile.weights(0.05).sum()
    assert share[0] == pytest.approx(0.05)
    assert share[1:] / share[1:].sum() == pytest.approx(profile.probabilities[1:] / profile.probabilities[1:].sum())
    assert profile.weights(0.0005).tolist() == profile.counts.tolist() == profile.weights(None).tolist()


def test_figure_3_original_and_synthetic_distances_and_hit_rates_agree():
    """tr = random.uniform(1, 100, 100K), as in the paper."""
    original = TraceProfile.of(np.random.default_rng(3).integers(1, 101, 100_000))
    synthetic = TraceProfile.of(synthetic_trace(original, 100_000, seed=4))
    assert original.probabilities[1:] == pytest.approx(np.full(100, 0.01), abs=0.002)
    compared = compare(original, synthetic)
    assert compared.distance < 0.03
    assert compared.synthetic_hits == pytest.approx(compared.original_hits, abs=0.02)


def test_taking_the_unreachable_for_new_keeps_hit_rates_of_a_trace_with_many_ids():
    random = np.random.default_rng(2)
    original = TraceProfile.of((random.random(60_000) ** 3 * 8000).astype(np.int64))
    apart = {}
    for beyond in ("redraw", "new"):
        trace = synthetic_trace(original, 60_000, 1, Support(beyond=beyond))
        compared = compare(original, TraceProfile.of(trace))
        apart[beyond] = np.abs(compared.original_hits - compared.synthetic_hits).max()
    assert apart["new"] < 0.04 < apart["redraw"]


def test_profiles_are_read_as_they_were_written_and_checked(tmp_path):
    profile = TraceProfile.of(np.array([5, 3, 5, 5, 9]), rows=12)
    save_profiles(tmp_path / "profiles", {"C1": profile, "C2": profile.anonymous()}, "a trace")
    found = load_profiles(tmp_path / "profiles")
    assert found["C1"].unique.tolist() == [5, 3, 9] and found["C1"].rows == 12
    assert found["C2"].unique.tolist() == [0, 1, 2] and found["C2"].rows == 3
    assert found["C2"].counts.tolist() == profile.counts.tolist() == [3, 1, 1]
    with pytest.raises(DataError, match="exists already"):
        save_profiles(tmp_path / "profiles", {}, "")
    np.save(tmp_path / "profiles" / "C1.distances.npy", np.array([0, 1, 7]))  # 3 ids cannot be 7 apart
    with pytest.raises(DataError, match="the arrays of C1 are not a trace profile"):
        load_profiles(tmp_path / "profiles")
    with pytest.raises(DataError, match="holds no trace profiles"):
        load_profiles(tmp_path)
    (tmp_path / "profiles.json").write_text('{"rows": 3}')
    with pytest.raises(DataError, match="expected what `tandem data profile-trace` writes"):
        load_profiles(tmp_path)


@pytest.mark.parametrize("trace", [[], [1, -1], [0.5]])
def test_what_is_not_a_trace_is_refused(trace):
    with pytest.raises(DataError, match="expected"):
        TraceProfile.of(np.array(trace))


def test_numbers_out_of_range_are_refused():
    profile = TraceProfile.of(np.array([1, 2]))
    with pytest.raises(DataError, match="-1 accesses"):
        synthetic_trace(profile, -1, 0)
    with pytest.raises(DataError, match="below 1"):
        Support(least_new=1.0)
    with pytest.raises(DataError, match="expected 0 to 4"):
        TraceProfile.of(np.array([1, 5]), rows=5)
