"""Weight decay of tables: which rows shrink and by how much, against loops and against a dense network."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchrec import KeyedJaggedTensor

from data.errors import DataError
from ranker.errors import RankerError
from ranker.features.examples import NO_ROW, Examples
from ranker.features.specification import parse_specification
from ranker.networks.dlrm import DLRM
from ranker.networks.shape import DlrmShape
from ranker.training.examples_source import ExamplesSource
from ranker.training.on_examples import ExamplesJob, train_on_examples
from ranker.training.optimizers import mlp_optimizer
from ranker.training.settings import BANNER
from ranker.training.source import Standardisation
from ranker.training.table_decay import TABLE_KEY, TableDecay
from tests.support.networks import tensors_of

SPEC = parse_specification(
    "{name: s, dimension: 4, dense: [{name: a}], request: [{name: u, table: u}],"
    " item: [{name: i, table: i}, {name: c, table: c}], bags: [{name: r, table: i, length: 3}],"
    " tables: {u: {}, i: {}, c: {}}}",
    "spec",
)
ROWS = {"u": 5, "i": 12, "c": 30}
LISTS = st.lists(st.lists(st.integers(0, 4), max_size=3), min_size=2, max_size=2)


def examples(count: int = 60, seed: int = 0) -> Examples:
    random = np.random.default_rng(seed)
    bag = random.integers(0, 12, (count, 3)).astype(np.int32)
    bag[np.arange(3) >= random.integers(0, 4, count)[:, None]] = NO_ROW
    single = np.stack([random.integers(0, ROWS[one.table] - 1, count) for one in SPEC.singles], axis=1).astype(np.int32)
    label = (random.random(count) < 0.5).astype(np.float32)
    dense = random.normal(size=(count, 1)).astype(np.float32)
    return Examples(dense, single, (bag,), np.arange(count), np.full(count, -1, np.int32), label)


@given(u=LISTS, i=LISTS, c=LISTS, r=LISTS)
@settings(max_examples=40, deadline=None)
def test_rows_that_were_read_shrink_once_and_others_not_at_all(u, i, c, r):  # type: ignore[no-untyped-def]
    state = {TABLE_KEY.format(name): torch.randn(rows, 4) for name, rows in ROWS.items()}
    before = {name: one.clone() for name, one in state.items()}
    lists = [*u, *i, *c, *r]
    bags = KeyedJaggedTensor(
        keys=["u", "i", "c", "r"],
        values=torch.tensor([one for part in lists for one in part], dtype=torch.int64),
        lengths=torch.tensor([len(part) for part in lists]),
    )
    TableDecay(SPEC, state, 3.0).apply(bags, 0.1)
    for table, readers in {"u": [u], "i": [i, r], "c": [c]}.items():
        read = {row for reader in readers for part in reader for row in part}
        for row in range(ROWS[table]):
            key = TABLE_KEY.format(table)
            torch.testing.assert_close(
                state[key][row], before[key][row] * (0.7 if row in read else 1), rtol=1e-6, atol=0
            )


@pytest.mark.parametrize("optimizer", ["rowwise_adagrad", "adagrad"])
def test_training_with_decay_is_a_dense_networks_adagrad_followed_by_the_decay(optimizer: str) -> None:
    """The tables' learning rate falls from step to step, and the falling rate reaches both."""
    config = BANNER.changed(
        shape=DlrmShape(bottom=(8,), top=(6,)),
        tables={"optimizer": optimizer, "learning_rate": 0.1, "weight_decay": 2.0},
        schedule={"final_rate": 0.1},
        batch=10,
        epochs=1,
        shuffle=False,
        patience=None,
    )
    torch.manual_seed(0)
    rows, dense = examples(), DLRM(SPEC, ROWS, config.shape)
    start = {name: one.clone() for name, one in dense.state_dict().items()}
    found = train_on_examples(AsTheyAre(SPEC, ROWS, {"train": rows}), ExamplesJob(config, start)).state
    tables = {name: dense.embeddings.embedding_bags[name].weight for name in ROWS}
    sums = {name: torch.zeros(len(one), 1 if "row" in optimizer else 4) for name, one in tables.items()}
    layers = mlp_optimizer({n: p for n, p in dense.named_parameters() if "embeddings." not in n}, config.mlps)
    for step in range(6):
        chosen, factor = np.arange(step * 10, step * 10 + 10), 1 - 0.9 * step / 6
        layers.param_groups[0]["lr"] = layers.param_groups[1]["lr"] = config.mlps.learning_rate * factor
        dense.zero_grad()
        batch = tensors_of(SPEC, rows, chosen)
        label = torch.from_numpy(rows.label[chosen])
        torch.nn.functional.binary_cross_entropy_with_logits(dense(*batch), label).backward()
        layers.step()
        for name, table in tables.items():
            read = torch.cat([batch[1][one.name].values() for one in SPEC.table_features if one.table == name])
            gradient = table.grad
            squares = gradient.square()
            sums[name] += squares.mean(dim=1, keepdim=True) if "row" in optimizer else squares
            with torch.no_grad():
                table -= factor * 0.1 * gradient / (sums[name].sqrt() + 1e-8)
                table[read.unique()] *= 1 - factor * 0.1 * 2.0
    for name, table in tables.items():
        torch.testing.assert_close(found[TABLE_KEY.format(name)], table.detach(), atol=1e-4, rtol=1e-3)


class AsTheyAre(ExamplesSource):
    """Dense features that are not standardised."""

    def standardisation(self) -> Standardisation:
        return Standardisation.none(len(self.specification.dense))


def test_the_norm_of_a_table_without_gradients_falls_as_the_formula_says() -> None:
    config = BANNER.changed(
        shape=DlrmShape(bottom=(8,), top=(6,)),
        batch=20,
        epochs=2,
        patience=None,
        mlps={"optimizer": "adamw", "learning_rate": 1e-30},
        tables={"optimizer": "rowwise_adagrad", "learning_rate": 0.05, "weight_decay": 4.0},
        schedule={"final_rate": 0.5},
    )
    rows = examples()
    rows.single[:, 0] = 3  # every step reads user 3, and no other
    network = DLRM(SPEC, ROWS, config.shape)
    torch.nn.init.zeros_(network.over.layers[-1].weight)  # so that no gradient comes to the tables
    start = {name: one.clone() for name, one in network.state_dict().items()}
    before = start[TABLE_KEY.format("u")]
    after = train_on_examples(ExamplesSource(SPEC, ROWS, {"train": rows}), ExamplesJob(config, start)).state
    after = after[TABLE_KEY.format("u")]
    shares = [1 - 0.05 * 4.0 * (1 - step / 6 * 0.5) for step in range(6)]
    assert float(after[3].norm()) == pytest.approx(float(before[3].norm()) * np.prod(shares), rel=1e-4)
    torch.testing.assert_close(after[[0, 1, 2, 4]], before[[0, 1, 2, 4]], rtol=0, atol=0)


def test_a_decay_that_leaves_nothing_is_refused() -> None:
    with pytest.raises(DataError, match="would leave nothing of a row; expected their product below 1"):
        BANNER.changed(table_weight_decay=50.0)
    state = {TABLE_KEY.format(name): torch.randn(rows, 4) for name, rows in ROWS.items()}
    with pytest.raises(RankerError, match="leaves nothing of a row"):
        TableDecay(SPEC, state, 10.0).apply(tensors_of(SPEC, examples(), np.arange(4))[1], 0.1)
