"""Every option of the networks against plain loops over plain arrays."""

import numpy as np
import pytest
import torch
from torch import Tensor

from ranker.baselines.logistic import LogisticRanker
from ranker.errors import RankerError
from ranker.features.examples import NO_ROW, Examples
from ranker.features.specification import Specification, parse_specification
from ranker.networks.dlrm import DLRM
from ranker.networks.layers import BatchNorm
from ranker.networks.registry import NETWORKS, build_network
from ranker.networks.shape import DlrmShape
from ranker.training.optimizers import mlp_optimizer
from ranker.training.ranker import table_key
from ranker.training.settings import BANNER
from tests.support.networks import tensors_of

PLAIN = DlrmShape(bottom=(8,), top=(7, 5), dropout=0.0)
ROWS = {"u": 6, "i": 9, "w": 5}


def specification(
    own: str = "{}", recent: str = "mean", other: str = "mean", words: str = "mean", dimension: int = 8
) -> Specification:
    """Two single ids, two bags over the table of one of them, and a bag with a table of its own."""
    return parse_specification(
        f"{{name: s, dimension: {dimension}, positions: 2, dense: [{{name: a}}, {{name: b}}],"
        " request: [{name: u, table: u}], item: [{name: i, table: i}],"
        f" bags: [{{name: r, table: i, length: 4, pooling: {recent}}},"
        f" {{name: o, table: i, length: 3, pooling: {other}}},"
        f" {{name: w, table: w, length: 2, pooling: {words}}}], tables: {{u: {own}, i: {{}}, w: {own}}}}}",
        "spec",
    )


def examples(spec: Specification, count: int = 30, seed: int = 0) -> Examples:
    random = np.random.default_rng(seed)
    bags = []
    for bag in spec.bags:
        rows = random.integers(0, ROWS[bag.table], (count, bag.length)).astype(np.int32)
        rows[np.arange(bag.length) >= random.integers(0, bag.length + 1, count)[:, None]] = NO_ROW
        bags.append(rows)
    single = np.stack([random.integers(0, ROWS[one.table], count) for one in spec.singles], axis=1).astype(np.int32)
    label = (random.random(count) < 0.5).astype(np.float32)
    dense = random.normal(size=(count, 2)).astype(np.float32)
    return Examples(dense, single, tuple(bags), np.arange(count), np.full(count, -1, np.int32), label)


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
    singles = [[one] for one in rows.single[row]]
    bags = [[one for one in bag[row] if one != NO_ROW] for bag in rows.bags]
    poolings = ["mean"] * len(singles) + [bag.pooling for bag in spec.bags]
    for feature, ids, pooling in zip(spec.table_features, singles + bags, poolings, strict=True):
        table = state[table_key(feature.table)]
        pooled = np.zeros(table.shape[1])
        for one in ids:
            pooled = pooled + table[one] / (len(ids) if pooling == "mean" else 1)
        if table.shape[1] != spec.dimension:
            pooled = state[f"projections.{feature.table}.weight"] @ pooled
        vectors.append(pooled)
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
        ({}, specification()),
        ({"batch_norm": True}, specification()),
        ({"activation": "sigmoid", "batch_norm": True}, specification()),
        ({"interaction": "cat"}, specification()),
        ({"itself": True}, specification(own="{dimension: 4}")),
        ({}, specification(own="{dimension: 4}", words="sum")),
        ({}, specification(recent="sum", other="sum")),
        ({}, specification(recent="sum", other="mean", words="sum")),
        ({"interaction": "cat", "batch_norm": True}, specification(own="{dimension: 4}", other="sum")),
    ],
)
def test_every_option_is_its_formula(changed: dict[str, object], spec: Specification) -> None:
    torch.manual_seed(1)
    network, rows = DLRM(spec, ROWS, PLAIN.changed(**changed)), examples(spec)
    with torch.no_grad():
        for name, one in network.state_dict().items():
            one.copy_(torch.rand_like(one) + 0.5 if "variance" in name or "scale" in name else torch.randn_like(one))
        network.position.weight.zero_()
        found = network.eval()(*tensors_of(spec, rows, np.arange(30))).numpy()
    expected = [naive_logit(network, spec, rows, row) for row in range(30)]
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", NETWORKS)
def test_every_weight_of_every_network_learns_with_all_options(name: str) -> None:
    spec = specification(own="{dimension: 4}", recent="sum", words="sum")
    network = build_network(name, spec, ROWS, PLAIN.changed(batch_norm=True, activation="sigmoid")).train()
    rows = examples(spec)
    logits = network(*tensors_of(spec, rows, np.arange(30)))
    torch.nn.functional.binary_cross_entropy_with_logits(logits, torch.from_numpy(rows.label)).backward()
    still = [name for name, one in network.named_parameters() if one.grad is None or not one.grad.any()]
    assert still == []


def test_dcn_lays_vectors_of_different_lengths_side_by_side() -> None:
    spec = specification(own="{dimension: 4}")
    assert build_network("dcn", spec, ROWS, PLAIN).deep[0].in_features == 2 + 4 + 8 + 8 + 8 + 4


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
    network = build_network("dlrm", specification(own="{dimension: 4}"), ROWS, PLAIN.changed(batch_norm=True))
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


def test_logistic_regression_pools_as_the_specification_says() -> None:
    found: dict[str, Tensor] = {}
    for pooling in ("mean", "sum"):
        spec = specification(words=pooling)
        rival, rows = LogisticRanker(spec, ROWS), examples(spec)
        rival.fit(rows, rows, 0)
        found[pooling] = rival._inputs(rows)[:, -ROWS["w"] :].toarray()
    ids = (examples(specification()).bags[2] != NO_ROW).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(found["sum"], found["mean"] * ids)
    assert found["sum"].max() > 1


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{dimension: 16}", "spec: table 'u' has dimension 16; expected at most"),
        ("{dimension: 6}", "spec: tables.u.dimension: Input should be a multiple of 4"),
    ],
)
def test_a_table_wider_than_the_interactions_is_refused(text: str, sentence: str) -> None:
    with pytest.raises(RankerError, match=sentence):
        specification(own=text)
    with pytest.raises(RankerError, match=r"spec: bags\.0\.pooling: Input should be 'mean' or 'sum'"):
        specification(recent="max")


def test_options_that_exclude_each_other_are_refused_with_a_sentence() -> None:
    own = specification(own="{dimension: 4}")
    with pytest.raises(RankerError, match="first-order columns: expected tables of one dimension, but u has its own"):
        build_network("dlrm", own, ROWS, PLAIN.changed(first_order=4))
    with pytest.raises(RankerError, match="have no products with themselves; expected one of the two"):
        build_network("dlrm", specification(), ROWS, PLAIN.changed(interaction="cat", itself=True))
    with pytest.raises(RankerError, match="network dcn has no first-order columns, members or other interactions"):
        build_network("dcn", own, ROWS, PLAIN.changed(interaction="cat"))
