"""DLRM's forward pass against loops, and its training's switches."""

import numpy as np
import pytest
import torch

from ranker.banner.rows import rows_of_examples
from ranker.baselines.logistic import LogisticRanker
from ranker.errors import RankerError
from ranker.features.examples import NO_ROW, Examples, encode, row_of_position
from ranker.features.specification import Specification, banner_specification
from ranker.features.vocabulary_growth import grow_vocabularies
from ranker.networks.dlrm import DLRM
from ranker.networks.interaction import interactions
from ranker.networks.shape import DlrmShape
from ranker.training.batch import batch_of
from ranker.training.examples_source import host_rows
from ranker.training.launch import ProcessContext
from ranker.training.model import sharded_network
from ranker.training.ranker import DlrmRanker, table_key
from ranker.training.settings import BANNER
from tests.support.networks import ROWS, SPEC, random_examples, tensors_of
from tests.support.ranker_runs import process_group
from tests.support.shop import Shop, make_examples


def naive_logit(model: DLRM, examples: Examples, row: int) -> float:
    """One row's logit in plain loops over plain lists of weights."""
    state = {name: tensor.numpy().astype(np.float64) for name, tensor in model.state_dict().items()}
    mixed = (examples.dense[row] - state["dense.mean"]) * state["dense.scale"]
    for k in range(2):
        mixed = np.maximum(state[f"dense.layers.{k}.weight"] @ mixed + state[f"dense.layers.{k}.bias"], 0)
    user, item = state[table_key("u")], state[table_key("i")]
    bag = [item[one] for one in examples.bags[0][row] if one != NO_ROW]
    vectors = [
        mixed,
        user[examples.single[row, 0]],
        item[examples.single[row, 1]],
        sum(bag) / len(bag) if bag else 0 * mixed,
    ]
    dots = [float(vectors[i] @ vectors[j]) for i in range(4) for j in range(i)]
    hidden = np.concatenate([mixed, dots])
    for k in range(3):
        hidden = state[f"over.layers.{k}.weight"] @ hidden + state[f"over.layers.{k}.bias"]
        hidden = np.maximum(hidden, 0) if k < 2 else hidden
    return float(hidden[0] + state["position.weight"][row_of_position(examples.position[[row]], 2)[0], 0])


def test_the_forward_pass_is_the_papers() -> None:
    torch.manual_seed(0)
    model, examples = DLRM(SPEC, ROWS, DlrmShape(bottom=(8,), top=(7, 5))), random_examples()
    with torch.no_grad():
        model.position.weight.normal_()
        model.dense.mean.normal_()
        found = model.eval()(*tensors_of(SPEC, examples, np.arange(40))).numpy()
    np.testing.assert_allclose(found, [naive_logit(model, examples, row) for row in range(40)], rtol=1e-4, atol=1e-5)


def test_interactions_are_the_strictly_lower_triangle_of_dot_products() -> None:
    vectors = torch.randn(5, 4, 3)
    expected = [[float(v[i] @ v[j]) for i in range(4) for j in range(i)] for v in vectors]
    torch.testing.assert_close(interactions(vectors), torch.tensor(expected))


def test_sharding_changes_no_prediction_and_every_table_learns() -> None:
    torch.manual_seed(0)
    shape, examples = DlrmShape(bottom=(8,), top=(7, 5)), random_examples()
    model = DLRM(SPEC, ROWS, shape)
    start = {name: one.clone() for name, one in model.state_dict().items()}
    with process_group():
        alone = ProcessContext(0, 1, 0, 1, torch.device("cpu"))
        settings = BANNER.changed(shape=shape, tables={"optimizer": "rowwise_adagrad", "learning_rate": 0.1})
        sharded = sharded_network(SPEC, ROWS, settings, alone, start=start)
        copied = sharded.gathered()
        assert copied.keys() == start.keys()
        for name, one in start.items():
            torch.testing.assert_close(copied[name], one)
        names = [one.name for one in SPEC.table_features]
        batch = batch_of(host_rows(examples, np.arange(40), SPEC), names, 40, 1 / 40)
        loss, (logits, _) = sharded.model(batch)
        torch.testing.assert_close(logits, model(*tensors_of(SPEC, examples, np.arange(40))).detach())
        loss.backward()
        after = sharded.gathered()
    for table in SPEC.tables:
        assert not torch.equal(after[table_key(table)], copied[table_key(table)])


def banner_examples(shop: Shop) -> tuple[Specification, dict[str, int], Examples, Examples]:
    spec = banner_specification()
    rows, _ = rows_of_examples(spec, shop.items, shop.timelines, make_examples(shop, 400))
    train, later = rows.take(np.arange(300)), rows.take(np.arange(300, 400))
    vocabularies, _ = grow_vocabularies(spec, [train])
    counts = {name: one.rows for name, one in vocabularies.items()}
    return spec, counts, encode(spec, vocabularies, train), encode(spec, vocabularies, later)


def test_the_same_seed_gives_the_same_model_and_another_gives_another(shop: Shop) -> None:
    spec, counts, train, later = banner_examples(shop)
    config = BANNER.changed(epochs=1)
    found = []
    for seed in (1, 1, 2):
        ranker = DlrmRanker(spec, counts, config)
        ranker.fit(train, later, seed)
        found.append(ranker.logits(later))
    np.testing.assert_array_equal(found[0], found[1])
    assert np.abs(found[0] - found[2]).max() > 1e-6


def test_weight_decay_of_the_layers_really_shrinks_them(shop: Shop) -> None:
    spec, counts, train, later = banner_examples(shop)
    norms = []
    for decay in (0.0, 100.0):
        ranker = DlrmRanker(spec, counts, BANNER.changed(epochs=1, batch=50, weight_decay=decay))
        ranker.fit(train, later, 0)
        ranker.refit(train, counts, 0)
        layers = [one for name, one in ranker.model.state_dict().items() if "layers" in name and one.dim() == 2]
        norms.append(float(torch.cat([one.ravel() for one in layers]).norm()))
    assert norms[1] < 0.9 * norms[0]


def test_a_fit_that_made_nothing_better_is_a_fit_and_can_be_repeated(shop: Shop) -> None:
    spec, counts, train, later = banner_examples(shop)
    ranker = DlrmRanker(spec, counts, BANNER.changed(epochs=1, mlps=BANNER.mlps.changed(learning_rate=30.0)))
    with pytest.raises(RankerError, match="not fitted yet"):
        ranker.refit(train, counts, 0)
    ranker.fit(train, later, 0)
    assert (ranker.best_epochs, ranker.steps) == (0, 0)
    ranker.refit(train, counts, 0)


def test_drop_out_works_in_training_and_rests_in_prediction() -> None:
    model, examples = DLRM(SPEC, ROWS, DlrmShape(bottom=(8,), top=(64, 64), dropout=0.5)), random_examples()
    batch = tensors_of(SPEC, examples, np.arange(40))
    assert not torch.equal(model.train()(*batch), model.train()(*batch))
    assert torch.equal(model.eval()(*batch), model.eval()(*batch))


def test_a_feature_that_never_varies_has_no_say(shop: Shop) -> None:
    spec, counts, train, later = banner_examples(shop)
    ranker = DlrmRanker(spec, counts, BANNER.changed(epochs=1))
    ranker.fit(train, later, 0)
    column = spec.dense_names.index("item_click_rate")
    assert np.ptp(train.dense[:, column]) == 0
    before = ranker.logits(later)
    later.dense[:, column] = 5.0
    np.testing.assert_array_equal(ranker.logits(later), before)


def test_a_saved_ranker_predicts_the_same_and_a_broken_one_is_refused(shop: Shop, tmp_path) -> None:  # type: ignore[no-untyped-def]
    spec, counts, train, later = banner_examples(shop)
    ranker = DlrmRanker(spec, counts, BANNER.changed(epochs=1))
    ranker.fit(train, later, 0)
    ranker.save(tmp_path)
    loaded = DlrmRanker.load(tmp_path, spec)
    np.testing.assert_array_equal(loaded.logits(later), ranker.logits(later))
    assert loaded.platt == ranker.platt
    (tmp_path / "tables" / "item.npy").write_bytes(b"not an array")
    with pytest.raises(RankerError, match="expected a model of specification banner"):
        DlrmRanker.load(tmp_path, spec)


def test_a_warm_start_moves_rows_with_their_ids_and_never_ends_worse_on_validation(shop: Shop) -> None:
    spec, counts, train, later = banner_examples(shop)
    older = DlrmRanker(spec, counts, BANNER.changed(epochs=2))
    older.fit(train, later, 0)
    old_ids = {name: [f"{name}{k}" for k in range(rows - 2)] for name, rows in counts.items()}
    new_ids = {**old_ids, "item": ["brand new", *reversed(old_ids["item"])]}
    newer = DlrmRanker(spec, {**counts, "item": counts["item"] + 1}, BANNER.changed(epochs=1))
    newer.adopt(older, old_ids, new_ids)
    key = table_key("item")
    assert torch.equal(newer.model.state_dict()[key][3:].flip(0), older.model.state_dict()[key][2:])
    same = DlrmRanker(spec, counts, BANNER.changed(epochs=1))
    same.adopt(older, old_ids, old_ids)
    np.testing.assert_array_equal(same.logits(later), older.logits(later))


def test_logistic_regression_learns_and_is_calibrated(shop: Shop) -> None:
    spec, counts, train, later = banner_examples(shop)
    baseline = LogisticRanker(spec, counts)
    baseline.fit(train, later, 0)
    probability = baseline.platt.probability(baseline.logits(later))
    assert probability.mean() == pytest.approx(later.label.mean(), abs=0.02)
    assert np.corrcoef(probability, later.label)[0, 1] > 0.2
