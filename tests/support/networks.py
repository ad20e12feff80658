"""A small network's features, tables and rows."""

import numpy as np
import torch
from torchrec import KeyedJaggedTensor

from ranker.features.examples import NO_ROW, Examples
from ranker.features.specification import Specification, parse_specification
from ranker.networks.shape import DlrmShape
from ranker.training.batch import batch_of
from ranker.training.examples_source import host_rows

ALL_OPTIONS = DlrmShape(
    bottom=(8,),
    top=(7, 5),
    dropout=0.3,
    first_order=2,
    dense_to_top=True,
    itself=True,
    activation="sigmoid",
    batch_norm=True,
)
SPEC = parse_specification(
    "{name: s, dimension: 4, positions: 2, dense: [{name: a}, {name: b}], request: [{name: u, table: u}],"
    " item: [{name: i, table: i}], bags: [{name: r, table: i, length: 4}], tables: {u: {}, i: {}}}",
    "spec",
)
ROWS = {"u": 6, "i": 9}


def random_examples(count: int = 40, seed: int = 0, spec: Specification = SPEC) -> Examples:
    random = np.random.default_rng(seed)
    bag = random.integers(0, 9, (count, 4)).astype(np.int32)
    bag[np.arange(4) >= random.integers(0, 5, count)[:, None]] = NO_ROW
    single = np.stack([random.integers(0, 6, count), random.integers(0, 9, count)], axis=1).astype(np.int32)
    label = (random.random(count) < 0.5).astype(np.float32)
    position = random.integers(-1, 4, count).astype(np.int32)
    return Examples(
        random.normal(size=(count, 2)).astype(np.float32), single, (bag,), np.arange(count), position, label
    )


def tensors_of(
    spec: Specification, examples: Examples, rows: np.ndarray
) -> tuple[torch.Tensor, KeyedJaggedTensor, torch.Tensor]:
    """A batch as a network takes it: dense [B, D], bags of B rows, position rows int64 [B]."""
    names = [one.name for one in spec.table_features]
    batch = batch_of(host_rows(examples, rows, spec.positions), names, len(rows), 1.0)
    return batch.dense, batch.bags, batch.position
