"""What an epoch of LED asks: splits of timelines, rows of users and merchants, their negatives."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_matrix

from candidates.config import LedConfig
from candidates.led.examples import LedTimelines, batches, split_timelines


@st.composite
def timelines_of(draw: st.DrawFn) -> LedTimelines:
    merchant = np.array([0, 0, 0, 0, 1, 1, 2, 2, 2, 2], np.int64)
    users = draw(st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=8, unique=True), min_size=1, max_size=12))
    items = np.array([item for user in users for item in user], np.int32)
    return LedTimelines(
        offsets=np.cumsum([0, *map(len, users)]),
        items=items,
        is_input=np.ones(len(items), bool),
        is_target=np.array([draw(st.booleans()) for _ in items]),
        merchant=merchant,
        merchant_offsets=np.array([0, 4, 6, 10]),
    )


@settings(deadline=None, max_examples=80)
@given(timelines_of(), st.sampled_from(["random", "cut"]), st.integers(0, 1000))
def test_every_user_keeps_an_input_and_only_allowed_events_are_targets(
    timelines: LedTimelines, split: str, seed: int
) -> None:
    inputs, hidden = split_timelines(timelines, split, 0.5, np.random.default_rng(seed))  # type: ignore[arg-type]
    assert np.array_equal(inputs, ~hidden)
    assert not (hidden & ~timelines.is_target).any()
    for user in range(len(timelines)):
        rows = slice(timelines.offsets[user], timelines.offsets[user + 1])
        assert (~hidden[rows]).any()
        if split == "cut":
            first = np.flatnonzero(hidden[rows])
            assert not len(first) or hidden[rows][first[0] :].sum() == timelines.is_target[rows][first[0] :].sum()


@settings(deadline=None, max_examples=80)
@given(timelines_of(), st.integers(1, 5), st.sampled_from(["user", "batch"]), st.integers(0, 1000))
def test_an_epoch_holds_every_hidden_event_once_with_its_own_input_and_its_merchants_negatives(
    timelines: LedTimelines, batch_rows: int, per: str, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    told, hidden = split_timelines(timelines, "random", 0.5, rng)
    user = timelines.user_of_event()
    expected = sorted(zip(user[hidden].tolist(), timelines.items[hidden].tolist(), strict=True))
    inputs = {u: sorted(timelines.items[(user == u) & ~hidden].tolist()) for u in range(len(timelines))}
    found = []
    config = LedConfig(negatives=6, dropout=0.0, negatives_per=per)  # type: ignore[arg-type]
    for batch in batches(timelines, told, hidden, config, batch_rows, rng):
        ends = [*batch.input_starts[1:].tolist(), len(batch.input_items)]
        for row, (start, end) in enumerate(zip(batch.input_starts.tolist(), ends, strict=True)):
            given_items = sorted(batch.input_items[start:end].tolist())
            owners = [u for u, items in inputs.items() if items == given_items]
            targets = batch.target_items[batch.target_rows == row].tolist()
            (merchant,) = set(timelines.merchant[targets].tolist())
            own = batch.negatives if batch.allowed is None else batch.negatives[batch.allowed[row]]
            own = own if batch.drawn is None else own[batch.drawn[row]]
            assert (timelines.merchant[own] == merchant).all()
            assert batch.catalogue[row] == np.diff(timelines.merchant_offsets)[merchant]
            owner = next(u for u in owners if all((u, item) in expected for item in targets))
            found += [(owner, item) for item in targets]
    assert sorted(item for _, item in found) == sorted(item for _, item in expected)


def test_drop_out_drops_inputs_and_never_targets() -> None:
    timelines = LedTimelines(
        np.array([0, 400]),
        np.arange(400, dtype=np.int32),
        np.ones(400, bool),
        np.ones(400, bool),
        np.zeros(400, np.int64),
        np.array([0, 400]),
    )
    rng = np.random.default_rng(0)
    told, hidden = split_timelines(timelines, "random", 0.25, rng)
    (batch,) = batches(timelines, told, hidden, LedConfig(negatives=5, dropout=0.5), 8, rng)
    assert len(batch.target_items) == 100
    assert 100 < len(batch.input_items) < 200


def test_the_multinomial_loss_is_given_all_items_of_the_rows_merchants() -> None:
    timelines = LedTimelines(
        np.array([0, 3, 6]),
        np.array([0, 1, 5, 4, 5, 6], np.int32),
        np.ones(6, bool),
        np.ones(6, bool),
        np.array([0, 0, 0, 0, 1, 1, 2]),
        np.array([0, 4, 6, 7]),
    )
    config = LedConfig(loss="multinomial", dropout=0.0)
    targets = np.array([True, False, True, False, True, False])
    (batch,) = batches(timelines, ~targets, targets, config, 9, np.random.default_rng(0))
    assert batch.negatives.tolist() == [0, 1, 2, 3, 4, 5]
    assert batch.allowed is not None
    assert sorted(batch.allowed.sum(1).tolist()) == sorted(batch.catalogue.tolist()) == [2, 2, 4]


def test_inputs_and_targets_of_two_matrices_are_told_apart() -> None:
    rng = np.random.default_rng(0)
    told, asked = (csr_matrix((rng.random((9, 12)) < 0.3).astype(np.float32)) for _ in range(2))
    timelines = LedTimelines.of_matrix(told, asked)
    inputs, targets = split_timelines(timelines, "none", 0.5, rng)
    user = timelines.user_of_event()
    for chosen, matrix in ((inputs, told), (targets, asked)):
        found = np.zeros(matrix.shape)
        found[user[chosen], timelines.items[chosen]] = 1
        np.testing.assert_array_equal(found, matrix.toarray())
    np.testing.assert_array_equal(timelines.matrix().toarray(), told.toarray())
