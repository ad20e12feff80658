"""A compiled package serves any model of its shape: its weights are those of the folder, down to the last number."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch

from ranker.evaluation.calibration import Platt
from ranker.features.examples import NO_ROW, Examples
from ranker.features.specification import parse_specification
from ranker.networks.shape import DlrmShape
from ranker.serving.compiled import CompiledGraph
from ranker.serving.export import write_serving
from ranker.serving.graph import Wiring
from ranker.training.ranker import DlrmRanker
from ranker.training.settings import BANNER

ONE_NUMBER = parse_specification(
    "{name: s, dimension: 8, positions: 2, dense: [{name: a}], item: [{name: i, table: i}],"
    " bags: [{name: r, table: i, length: 4, pooling: sum}, {name: q, table: w, length: 1}],"
    " tables: {i: {}, w: {dimension: 4}}}",
    "one number",
)


@pytest.mark.slow
def test_no_weight_becomes_a_part_of_the_compiled_code(compiled_once: None, tmp_path: Path) -> None:
    """Weights of one entry and short vectors are what a compiler likes to take for constants."""
    shape = DlrmShape(bottom=(1,), top=(130, 130, 2), dropout=0.0, dense_to_top=True, itself=True)
    found = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        ranker = DlrmRanker(ONE_NUMBER, {"i": 9, "w": 7}, BANNER.changed(shape=shape))
        ranker.platt = Platt(0.5 + seed, -0.1 * seed)
        with torch.no_grad():
            for name, tensor in ranker.model.state_dict().items():
                tensor.uniform_(0.5, 2) if name == "dense.scale" else tensor.normal_(std=0.2)
        folder = tmp_path / str(seed)
        folder.mkdir()
        ranker.save(folder)
        write_serving(folder, Wiring.of(ONE_NUMBER, shape), 1, ONE_NUMBER.dense_names)
        graph, random = CompiledGraph(folder, ONE_NUMBER), np.random.default_rng(0)
        for count, ids in itertools.product((1, 2, 30), (0, 1, 3)):
            dense = random.standard_normal((count, 1), np.float32)
            rows = random.integers(0, 9, (1, count))
            bags = [random.integers(0, 7, min(ids, bag.length)).astype(np.int32) for bag in ONE_NUMBER.bags]
            padded = [np.full((count, bag.length), NO_ROW, np.int32) for bag in ONE_NUMBER.bags]
            for one, bag in zip(padded, bags, strict=True):
                one[:, : len(bag)] = bag
            nothing = np.zeros(count)
            examples = Examples(
                dense, rows.T.astype(np.int32), tuple(padded), np.arange(count), nothing.astype(np.int32), nothing
            )
            found.append(graph.run(dense, rows, np.empty(0, np.int64), bags))
            expected = ranker.platt.probability(ranker.logits(examples))
            np.testing.assert_allclose(found[-1], expected, rtol=1e-4, atol=2e-6)
    assert not np.allclose(np.concatenate(found[:9]), np.concatenate(found[9:]))
    assert (tmp_path / "1" / "scorer.pt2").read_bytes() == (tmp_path / "2" / "scorer.pt2").read_bytes()
