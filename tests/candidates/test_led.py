"""The LED model: what it scores, and that both tunings and their shortcuts are the paper's formulas."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from candidates.led.examples import LedTimelines, batches, split_timelines
from candidates.led.model import Led, Tuning


def model(tuning: Tuning, length_power: float = 1.0, items: int = 9, dimension: int = 4) -> Led:
    generator = torch.Generator().manual_seed(0)
    led = Led(
        torch.randn(items, dimension, generator=generator),
        torch.randn(items, generator=generator),
        tuning,
        length_power,
    )
    if led.projection is not None:
        led.projection.data = torch.randn(dimension, dimension, generator=generator)
    return led


@pytest.mark.parametrize("tuning", ["full", "project"])
@pytest.mark.parametrize("length_power", [1.0, 0.5])
def test_scores_are_the_direct_form_of_the_paper(tuning: Tuning, length_power: float) -> None:
    """For `project` the direct form projects every vector: <1/T sum P v_t, P v_i> + b_i."""
    led = model(tuning, length_power)
    timelines = [[1, 2, 3], [4], [], [0, 8]]
    flat = torch.tensor([item for timeline in timelines for item in timeline])
    starts = torch.tensor([0, 3, 4, 4])
    projection = torch.eye(4) if led.projection is None else led.projection.data
    vectors = led.base.data @ projection.T
    for row, timeline in enumerate(timelines):
        user = vectors[timeline].sum(0) / max(1, len(timeline)) ** length_power
        expected = vectors @ user + led.biases.data[:, 0]
        found = led.scores(led.queries(flat, starts), torch.arange(9))[row]
        torch.testing.assert_close(found, expected)
    queries = led.queries(flat, starts)
    rows, items = torch.tensor([0, 0, 3]), torch.tensor([5, 2, 7])
    torch.testing.assert_close(led.pair_scores(queries, rows, items), led.scores(queries, torch.arange(9))[rows, items])
    torch.testing.assert_close(led.item_vectors(), vectors)


def test_project_trains_the_projection_and_biases_only() -> None:
    led = model("project")
    assert {name for name, one in led.named_parameters() if one.requires_grad} == {"biases", "projection"}
    before = led.base.clone()
    for optimizer in led.optimizers(0.1):
        optimizer.zero_grad()
    led.scores(led.queries(torch.tensor([1, 2]), torch.tensor([0])), torch.arange(9)).sum().backward()
    for optimizer in led.optimizers(0.1):
        optimizer.step()
    assert torch.equal(led.base, before)


@st.composite
def timelines_of(draw: st.DrawFn) -> LedTimelines:
    merchant = np.array([0, 0, 0, 0, 1, 1, 2, 2, 2, 2], np.int64)
    users = draw(st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=8, unique=True), min_size=1, max_size=12))
    items = np.array([item for user in users for item in user], np.int32)
    return LedTimelines(
        offsets=np.cumsum([0, *map(len, users)]),
        items=items,
        is_target=np.array([draw(st.booleans()) for _ in items]),
        merchant=merchant,
        merchant_offsets=np.array([0, 4, 6, 10]),
    )


@settings(deadline=None, max_examples=80)
@given(timelines_of(), st.sampled_from(["random", "cut"]), st.integers(0, 1000))
def test_every_user_keeps_an_input_and_only_allowed_events_are_targets(
    timelines: LedTimelines, split: str, seed: int
) -> None:
    hidden = split_timelines(timelines, split, 0.5, np.random.default_rng(seed))  # type: ignore[arg-type]
    assert not (hidden & ~timelines.is_target).any()
    for user in range(len(timelines)):
        rows = slice(timelines.offsets[user], timelines.offsets[user + 1])
        assert (~hidden[rows]).any()
        if split == "cut":
            first = np.flatnonzero(hidden[rows])
            assert not len(first) or hidden[rows][first[0] :].sum() == timelines.is_target[rows][first[0] :].sum()


@settings(deadline=None, max_examples=80)
@given(timelines_of(), st.integers(1, 5), st.integers(0, 1000))
def test_an_epoch_holds_every_hidden_event_once_with_its_own_input_and_its_merchants_negatives(
    timelines: LedTimelines, batch_rows: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    hidden = split_timelines(timelines, "random", 0.5, rng)
    user = timelines.user_of_event()
    expected = sorted(zip(user[hidden].tolist(), timelines.items[hidden].tolist(), strict=True))
    inputs = {u: sorted(timelines.items[(user == u) & ~hidden].tolist()) for u in range(len(timelines))}
    found = []
    for batch in batches(timelines, hidden, batch_rows, 6, 0.0, rng):
        assert set(timelines.merchant[batch.negatives]) <= set(batch.row_merchant)
        ends = [*batch.input_starts[1:].tolist(), len(batch.input_items)]
        for row, (start, end) in enumerate(zip(batch.input_starts.tolist(), ends, strict=True)):
            given_items = sorted(batch.input_items[start:end].tolist())
            owners = [u for u, items in inputs.items() if items == given_items]
            targets = batch.target_items[batch.target_rows == row].tolist()
            assert targets and (timelines.merchant[targets] == batch.row_merchant[row]).all()
            owner = next(u for u in owners if all((u, item) in expected for item in targets))
            found += [(owner, item) for item in targets]
    assert sorted(item for _, item in found) == sorted(item for _, item in expected)


def test_drop_out_drops_inputs_and_never_targets() -> None:
    timelines = LedTimelines(
        np.array([0, 400]),
        np.arange(400, dtype=np.int32),
        np.ones(400, bool),
        np.zeros(400, np.int64),
        np.array([0, 400]),
    )
    rng = np.random.default_rng(0)
    hidden = split_timelines(timelines, "random", 0.25, rng)
    (batch,) = batches(timelines, hidden, 8, 5, 0.5, rng)
    assert len(batch.target_items) == 100
    assert 100 < len(batch.input_items) < 200
