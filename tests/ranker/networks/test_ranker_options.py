"""Every option of the networks against plain loops over plain arrays."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from ranker.baselines.logistic import LogisticRanker
from ranker.errors import RankerError
from ranker.features.examples import NO_ROW, Examples
from ranker.features.pooling import pooling_weights
from ranker.features.specification import Bag, Specification
from ranker.networks.dlrm import DLRM
from ranker.networks.layers import BatchNorm
from ranker.networks.registry import NETWORKS, build_network
from ranker.networks.shape import DlrmShape
from ranker.training.optimizers import mlp_optimizer
from ranker.training.ranker import table_key
from ranker.training.settings import BANNER
from tests.support.networks import BAGGED_ROWS, bagged_examples, bagged_specification, tensors_of

PLAIN = DlrmShape(bottom=(8,), top=(7, 5), dropout=0.0)


def naive_pooled(table: np.ndarray, bag: Bag, ids: list[int], given: np.ndarray | None) -> np.ndarray:
    """Equation 2 in a loop: the sum of a_k w_k; of a mean, over the sum of a_k."""
    pooled, total = np.zeros(table.shape[1]), 0.0
    for place, one in enumerate(ids):
        weight = float(given[place]) if given is not None else bag.decay ** (len(ids) - 1 - place)
        pooled, total = pooled + weight * table[one], total + weight
    return pooled / total if bag.pooling == "mean" and ids else pooled


def naive_logit(network: DLRM, spec: Specification, rows: Examples, row: int) -> float:
    """One row's logit in loops."""
    state = {name: one.numpy().astype(np.float64) for name, one in network.state_dict().items()}
    shape = network.shape

    def hidden(arch: str, number: int, values: np.ndarray) -> np.ndarray:
        values = state[f"{arch}.layers.{number}.weight"] @ values + state[f"{arch}.layers.{number}.bias"]
        norm = f"{arch}.norms.{number}."
        if shape.batch_norm:
            deviation = np.sqrt(state[f"{norm}running_variance"] + 1e-5)
            values = (values - state[f"{norm}running_mean"]) / deviation * state[f"{norm}weight"] + state[f"{norm}bias"]
        return np.maximum(values, 0) if shape.activation == "relu" else 1 / (1 + np.exp(-values))

    mixed = (rows.dense[row] - state["dense.mean"]) * state["dense.scale"]
    for number in range(len(shape.bottom) + 1):
        mixed = hidden("dense", number, mixed)
    vectors = [mixed]
    looked_up = [state[table_key(one.table)][id_] for one, id_ in zip(spec.singles, rows.single[row], strict=True)]
    for bag, (of_rows, weights) in zip(spec.bags, rows.of_bags(), strict=True):
        ids = [one for one in of_rows[row] if one != NO_ROW]
        given = None if weights is None else weights[row]
        looked_up.append(naive_pooled(state[table_key(bag.table)], bag, ids, given))
    for number, (feature, vector) in enumerate(zip(spec.table_features, looked_up, strict=True)):
        if len(vector) != spec.dimension:
            vector = state[f"projections.{feature.table}.weight"] @ vector
        for k in range(len(shape.sparse) + 1 if shape.sparse else 0):
            vector = state[f"sparse.weights.{k}"][number] @ vector + state[f"sparse.biases.{k}"][number]
            vector = np.maximum(vector, 0) if k < len(shape.sparse) else vector
        vectors.append(vector)
    if shape.interaction == "cat":
        values = np.concatenate(vectors)
    else:
        pairs = [(i, j) for i in range(len(vectors)) for j in range(i + 1 if shape.itself else i)]
        values = np.concatenate([mixed, [vectors[i] @ vectors[j] for i, j in pairs]])
    for number in range(len(shape.top)):
        values = hidden("over", number, values)
    last = len(shape.top)
    return float((state[f"over.layers.{last}.weight"] @ values + state[f"over.layers.{last}.bias"])[0])


@pytest.mark.parametrize(
    ("changed", "spec"),
    [
        ({}, bagged_specification()),
        ({"batch_norm": True}, bagged_specification()),
        ({"activation": "sigmoid", "batch_norm": True}, bagged_specification()),
        ({"interaction": "cat"}, bagged_specification()),
        ({"itself": True}, bagged_specification(own="{dimension: 4}")),
        ({}, bagged_specification(own="{dimension: 4}", words="sum")),
        ({}, bagged_specification(recent="sum", other="sum")),
        ({}, bagged_specification(recent="sum", other="mean", words="sum")),
        ({"interaction": "cat", "batch_norm": True}, bagged_specification(own="{dimension: 4}", other="sum")),
        ({}, bagged_specification(recent="sum, weighted: true", other="sum, decay: 0.7")),
        ({}, bagged_specification(recent="mean, decay: 0.5", words="sum", own="{dimension: 4}")),
        ({"sparse": (6,)}, bagged_specification()),
        ({"sparse": (6, 3), "itself": True}, bagged_specification(own="{dimension: 4}", words="sum, weighted: true")),
    ],
)
def test_every_option_is_its_formula(changed: dict[str, object], spec: Specification) -> None:
    torch.manual_seed(1)
    network, rows = DLRM(spec, BAGGED_ROWS, PLAIN.changed(**changed)), bagged_examples(spec)
    with torch.no_grad():
        for name, one in network.state_dict().items():
            one.copy_(torch.rand_like(one) + 0.5 if "variance" in name or "scale" in name else torch.randn_like(one))
        network.position.weight.zero_()
        found = network.eval()(*tensors_of(spec, rows, np.arange(30))).numpy()
    expected = [naive_logit(network, spec, rows, row) for row in range(30)]
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", NETWORKS)
def test_every_weight_of_every_network_learns_with_all_options(name: str) -> None:
    spec = bagged_specification(own="{dimension: 4}", recent="sum", words="sum")
    network = build_network(name, spec, BAGGED_ROWS, PLAIN.changed(batch_norm=True, activation="sigmoid")).train()
    rows = bagged_examples(spec)
    logits = network(*tensors_of(spec, rows, np.arange(30)))
    torch.nn.functional.binary_cross_entropy_with_logits(logits, torch.from_numpy(rows.label)).backward()
    still = [name for name, one in network.named_parameters() if one.grad is None or not one.grad.any()]
    assert still == []


def test_dcn_lays_vectors_of_different_lengths_side_by_side() -> None:
    spec = bagged_specification(own="{dimension: 4}")
    assert build_network("dcn", spec, BAGGED_ROWS, PLAIN).deep[0].in_features == 2 + 4 + 8 + 8 + 8 + 4


@pytest.mark.parametrize("training", [True, False])
def test_batch_norm_is_torchs_over_many_batches(training: bool) -> None:
    torch.manual_seed(0)
    mine, theirs = BatchNorm(5), torch.nn.BatchNorm1d(5)
    for _ in range(4):
        batch = torch.randn(16, 5) * 3 + 1
        torch.testing.assert_close(mine.train()(batch), theirs.train()(batch))
    torch.testing.assert_close(mine.running_mean, theirs.running_mean)
    torch.testing.assert_close(mine.running_variance, theirs.running_var)
    batch = torch.randn(7, 5)
    torch.testing.assert_close(mine.train(training)(batch), theirs.train(training)(batch))


def test_a_last_batch_of_a_single_row_trains_with_batch_norm() -> None:
    norm = BatchNorm(3).train()
    norm(torch.randn(8, 3))
    before, row = norm.running_mean.clone(), torch.randn(1, 3, requires_grad=True)
    torch.testing.assert_close(norm(row), norm.eval()(row))
    assert torch.equal(norm.running_mean, before)
    norm.train()(row).sum().backward()
    assert row.grad is not None and row.grad.isfinite().all()


def test_weight_decay_spares_biases_norms_and_the_position_bias() -> None:
    network = build_network(
        "dlrm", bagged_specification(own="{dimension: 4}"), BAGGED_ROWS, PLAIN.changed(batch_norm=True)
    )
    mine = {name: one for name, one in network.named_parameters() if "embeddings." not in name}
    optimizer = mlp_optimizer(mine, BANNER.mlps.changed(weight_decay=0.1))
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.1, 0.0]
    decayed, spared = (
        {name for name, one in network.named_parameters() if any(one is other for other in group["params"])}
        for group in optimizer.param_groups
    )
    assert all(name.endswith("weight") and ("layers" in name or "projections" in name) for name in decayed)
    assert {"over.norms.0.weight", "over.norms.0.bias", "dense.layers.0.bias", "position.weight"} <= spared
    assert len(decayed) + len(spared) == len([n for n, _ in network.named_parameters() if "embeddings." not in n])


@given(
    counts=st.lists(st.integers(0, 5), min_size=1, max_size=8),
    decay=st.floats(0.1, 1),
    pooling=st.sampled_from(["mean", "sum"]),
)
def test_weights_of_bags_are_those_of_the_loop(counts: list[int], decay: float, pooling: str) -> None:
    bag = Bag.model_validate({"name": "r", "table": "i", "length": 5, "decay": decay, "pooling": pooling})
    table = np.eye(5)
    found = pooling_weights(bag, np.array(counts), 5)
    expected = [naive_pooled(table, bag, [*range(count)], None) for count in counts]
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_weights_that_are_missing_or_no_numbers_are_refused() -> None:
    bag = Bag(name="r", table="i", length=5, pooling="sum", weighted=True)
    with pytest.raises(RankerError, match="bag r: expected a weight for each of its ids, found none"):
        pooling_weights(bag, np.array([2]), 5)
    with pytest.raises(RankerError, match="bag r: expected finite weights"):
        pooling_weights(bag, np.array([2]), 5, np.array([[1, np.nan, 0, 0, 0]], np.float32))
    assert pooling_weights(bag, np.array([1]), 2, np.array([[3, np.nan]], np.float32)).tolist() == [[3, 0]]
    with pytest.raises(RankerError, match="r: weights come with the rows or fall with age; expected one of the two"):
        bagged_specification(recent="sum, weighted: true, decay: 0.5")


def test_logistic_regression_pools_as_the_specification_says() -> None:
    found: dict[str, Tensor] = {}
    for pooling in ("mean", "sum", "sum, decay: 0.5"):
        spec = bagged_specification(words=pooling)
        rival, rows = LogisticRanker(spec, BAGGED_ROWS), bagged_examples(spec)
        rival.fit(rows, rows, 0)
        found[pooling] = rival._inputs(rows)[:, -BAGGED_ROWS["w"] :].toarray()
    ids = (bagged_examples(bagged_specification()).bags[2] != NO_ROW).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(found["sum"], found["mean"] * ids)
    assert found["sum"].max() > 1
    full = ids[:, 0] == 2  # the older of two ids weighs half
    np.testing.assert_allclose(found["sum, decay: 0.5"][full].sum(axis=1), 1.5)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{dimension: 16}", "spec: table 'u' has dimension 16; expected at most"),
        ("{dimension: 6}", "spec: tables.u.dimension: Input should be a multiple of 4"),
    ],
)
def test_a_table_wider_than_the_interactions_is_refused(text: str, sentence: str) -> None:
    with pytest.raises(RankerError, match=sentence):
        bagged_specification(own=text)
    with pytest.raises(RankerError, match=r"spec: bags\.0\.pooling: Input should be 'mean' or 'sum'"):
        bagged_specification(recent="max")


def test_options_that_exclude_each_other_are_refused_with_a_sentence() -> None:
    own = bagged_specification(own="{dimension: 4}")
    with pytest.raises(RankerError, match="first-order columns: expected tables of one dimension, but u has its own"):
        build_network("dlrm", own, BAGGED_ROWS, PLAIN.changed(first_order=4))
    with pytest.raises(RankerError, match="have no products with themselves; expected one of the two"):
        build_network("dlrm", bagged_specification(), BAGGED_ROWS, PLAIN.changed(interaction="cat", itself=True))
    with pytest.raises(RankerError, match="network dcn has no first-order columns, members or other interactions"):
        build_network("dcn", own, BAGGED_ROWS, PLAIN.changed(interaction="cat"))
