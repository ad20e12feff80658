"""The serving graph, before it is compiled, computes what the trained network does, with any of its options."""

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from ranker.evaluation.calibration import Platt
from ranker.features.examples import NO_ROW, Examples
from ranker.features.specification import Specification, parse_specification
from ranker.networks.dlrm import Network
from ranker.networks.quantisation import quantise
from ranker.networks.registry import build_network
from ranker.networks.shape import DlrmShape
from ranker.serving.compiled import padded_bags
from ranker.serving.graph import ServingGraph, Wiring
from ranker.serving.weights import weights_of
from ranker.training.ranker import table_key
from tests.support.networks import ALL_OPTIONS, ROWS, SPEC, tensors_of

WEIGHTED = parse_specification(
    "{name: s, dimension: 4, positions: 2, dense: [{name: a}, {name: b}], request: [{name: u, table: u}],"
    " item: [{name: i, table: i}], bags: [{name: r, table: i, length: 4, decay: 0.6}], tables: {u: {}, i: {}}}",
    "weighted",
)
MIXED = parse_specification(
    "{name: s, dimension: 8, positions: 2, dense: [{name: a}, {name: b}], request: [{name: u, table: u}],"
    " item: [{name: i, table: i}], bags: [{name: r, table: i, length: 4, pooling: sum}],"
    " tables: {u: {dimension: 4}, i: {dimension: 4}}}",
    "mixed",
)


def one_request(count: int, seed: int) -> Examples:
    """n rows of one request of SPEC: a user, a bag of some length, and n items."""
    random = np.random.default_rng(seed)
    bag = np.full(4, NO_ROW, np.int32)
    filled = random.integers(0, 5)
    bag[:filled] = random.integers(0, 9, filled)
    single = np.stack([np.full(count, random.integers(0, 6)), random.integers(0, 9, count)], axis=1).astype(np.int32)
    dense = random.normal(size=(count, 2)).astype(np.float32)
    bags = (np.tile(bag, (count, 1)),)
    return Examples(dense, single, bags, np.arange(count), np.full(count, -1, np.int32), np.zeros(count, np.float32))


def random_model(specification: Specification, shape: DlrmShape, int8: bool) -> Network:
    """Every weight and running mean is drawn; tables that are served in 8 bits hold the values they are served with."""
    torch.manual_seed(0)
    model = build_network("dlrm", specification, ROWS, shape)
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            positive = name.endswith("dense.scale") or "variance" in name
            tensor.uniform_(0.5, 2) if positive else tensor.normal_()
            if int8 and name in map(table_key, specification.tables):
                tensor.copy_(torch.from_numpy(quantise(tensor.numpy()).dequantised()))
    return model.eval()


def graph_of(specification: Specification, wiring: Wiring, model: Network) -> ServingGraph:
    """With the model's weights."""
    graph = ServingGraph(wiring)
    graph.load_state_dict(weights_of(specification, wiring, model.state_dict(), Platt(0.7, -0.2), 0))
    return graph


def graph_inputs(specification: Specification, wiring: Wiring, model: Network, examples: Examples) -> Iterator[object]:
    """What the scorer hands to the graph, in tensors."""
    bag = examples.bags[0][0]
    rows, weights = padded_bags(specification.bags, [bag[bag != NO_ROW]])
    yield torch.from_numpy(examples.dense)
    yield torch.from_numpy(examples.single[:, 1:].T.astype(np.int64))
    yield torch.from_numpy(examples.single[0, :1].astype(np.int64))
    yield [torch.from_numpy(rows)]
    yield [torch.from_numpy(weights)]
    tables = [model.state_dict()[table_key(name)] for name in specification.tables]
    quantised = [quantise(one.numpy()) for one in tables]
    yield [torch.from_numpy(one.values) for one in quantised] if wiring.int8 else tables
    yield [torch.from_numpy(one.scales) for one in quantised] if wiring.int8 else []


OPTIONS: dict[str, list[object]] = {
    "first_order": [0, 3],
    "dense_to_top": [False, True],
    "itself": [False, True],
    "interaction": ["dot", "cat"],
    "activation": ["relu", "sigmoid"],
    "batch_norm": [False, True],
    "members": [1, 3],
    "sparse": [(), (6,)],
}


@pytest.mark.parametrize("int8", [False, True])
@pytest.mark.parametrize("specification", [SPEC, MIXED, WEIGHTED], ids=["one dimension", "mixed, sums", "weighted"])
def test_the_serving_graph_is_the_trained_network_with_any_options(specification: Specification, int8: bool) -> None:
    for values in itertools.product(*OPTIONS.values()):
        chosen: dict[str, Any] = dict(zip(OPTIONS, values, strict=True))
        one_dimension = chosen["first_order"] or chosen["members"] > 1
        if (specification.mixed and one_dimension) or (chosen["itself"] and chosen["interaction"] == "cat"):
            continue  # DLRM itself refuses that
        shape = DlrmShape(bottom=(8,), top=(7, 5), dropout=0.3, **chosen)
        model, examples = random_model(specification, shape, int8), one_request(12, seed=len(str(chosen)))
        wiring = Wiring.of(specification, shape, int8)
        with torch.no_grad():
            found = graph_of(specification, wiring, model)(*graph_inputs(specification, wiring, model, examples))
            logits = model(*tensors_of(specification, examples, np.arange(12)))
        torch.testing.assert_close(found, torch.sigmoid(0.7 * logits - 0.2), atol=2e-6, rtol=1e-4, msg=str(chosen))


@pytest.mark.parametrize("int8", [False, True])
@pytest.mark.parametrize("shape", [DlrmShape(bottom=(8,), top=(7, 5), heads=2), ALL_OPTIONS.changed(heads=2)])
def test_of_two_heads_the_serving_graph_adds_up_their_weighted_probabilities(shape: DlrmShape, int8: bool) -> None:
    model, examples, wiring = random_model(SPEC, shape, int8), one_request(12, seed=3), Wiring.of(SPEC, shape, int8)
    heads, shares, graph = (Platt(0.7, -0.2), Platt(1.3, 0.4)), (0.25, 0.75), ServingGraph(wiring)
    graph.load_state_dict(weights_of(SPEC, wiring, model.state_dict(), heads[0], 0, heads[1], shares))
    tensors = tensors_of(SPEC, examples, np.arange(12))
    with torch.no_grad():
        found = graph(*graph_inputs(SPEC, wiring, model, examples))
        logits = model.of_heads(*tensors).numpy()
        np.testing.assert_array_equal(model(*tensors).numpy(), logits[:, 0])
    expected = sum(
        share * one.probability(logits[:, k]) for k, (one, share) in enumerate(zip(heads, shares, strict=True))
    )
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-4, atol=2e-6)


@pytest.mark.parametrize("activation", ["relu", "sigmoid"])
def test_large_layers_compute_the_same_in_onednn(activation: Any) -> None:
    shape = DlrmShape(bottom=(256, 128), top=(300, 64), dropout=0.0, activation=activation)
    model, wiring = random_model(SPEC, shape, False), Wiring.of(SPEC, shape)
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            tensor.mul_(0.1 if ".layers." in name else 1)
    inputs = list(graph_inputs(SPEC, wiring, model, one_request(12, seed=1)))
    graphs = [ServingGraph(wiring, onednn) for onednn in (True, False)]
    for graph in graphs:
        graph.load_state_dict(weights_of(SPEC, wiring, model.state_dict(), Platt(), 0))
    with profile(activities=[ProfilerActivity.CPU]) as profiler, torch.no_grad():
        found = [graph(*inputs) for graph in graphs]
    torch.testing.assert_close(found[0], found[1])
    products = [one.name for one in profiler.events() if one.name == "mkldnn::_linear_pointwise"]
    assert len(products) == (2 if torch.backends.mkldnn.is_available() else 0)


def test_weights_of_another_shape_never_reach_the_compiled_code() -> None:
    model = random_model(SPEC, ALL_OPTIONS, False)
    for other in (
        DlrmShape(bottom=(8,), top=(7, 5)),
        ALL_OPTIONS.changed(bottom=(9,)),
        ALL_OPTIONS.changed(itself=False),
    ):
        with pytest.raises((KeyError, ValueError)):
            weights_of(SPEC, Wiring.of(SPEC, other), model.state_dict(), Platt(), 0)
