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
    batch = batch_of(host_rows(examples, rows, spec), names, len(rows), 1.0)
    return batch.dense, batch.bags, batch.position


BAGGED_ROWS = {"u": 6, "i": 9, "w": 5}


def bagged_specification(
    own: str = "{}", recent: str = "mean", other: str = "mean", words: str = "mean", dimension: int = 8
) -> Specification:
    """Two single ids, two bags over the table of one of them, and a bag with a table of its own.

    `recent`, `other`, `words`: a bag's pooling, and what else is said of it.
    """
    return parse_specification(
        f"{{name: s, dimension: {dimension}, positions: 2, dense: [{{name: a}}, {{name: b}}],"
        " request: [{name: u, table: u}], item: [{name: i, table: i}],"
        f" bags: [{{name: r, table: i, length: 4, pooling: {recent}}},"
        f" {{name: o, table: i, length: 3, pooling: {other}}},"
        f" {{name: w, table: w, length: 2, pooling: {words}}}], tables: {{u: {own}, i: {{}}, w: {own}}}}}",
        "spec",
    )


def bagged_examples(spec: Specification, count: int = 30, seed: int = 0) -> Examples:
    random = np.random.default_rng(seed)
    bags = []
    for bag in spec.bags:
        rows = random.integers(0, BAGGED_ROWS[bag.table], (count, bag.length)).astype(np.int32)
        rows[np.arange(bag.length) >= random.integers(0, bag.length + 1, count)[:, None]] = NO_ROW
        bags.append(rows)
    single = np.stack([random.integers(0, BAGGED_ROWS[one.table], count) for one in spec.singles], axis=1).astype(
        np.int32
    )
    label = (random.random(count) < 0.5).astype(np.float32)
    dense = random.normal(size=(count, 2)).astype(np.float32)
    weights = tuple(
        random.uniform(-1, 2, rows.shape).astype(np.float32) if bag.weighted else None
        for bag, rows in zip(spec.bags, bags, strict=True)
    )
    return Examples(dense, single, tuple(bags), np.arange(count), np.full(count, -1, np.int32), label, weights)
