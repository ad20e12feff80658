"""The default LED's judge against the protocol's own measures, and its answers on data of odd shapes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_matrix

from candidates.benchmarks.benchmark import run_model
from candidates.benchmarks.datasets import load_split
from candidates.led.spectral_model import Led
from candidates.led.validation_scorer import Judge
from candidates.matrices.spectral import Shrinkage, Weighting, decompose, item_vectors
from candidates.protocols.metrics import STRONG, VALIDATION, WEAK, evaluate
from candidates.protocols.splits import HeldOutUsers


def held_out(rng: np.random.Generator, users: int, items: int) -> HeldOutUsers:
    """Each with one to three targets; some are told nothing."""
    told, hidden = np.zeros((users, items), np.float32), np.zeros((users, items), np.float32)
    for user in range(users):
        drawn = rng.permutation(items)
        hidden[user, drawn[: rng.integers(1, 4)]] = 1
        told[user, drawn[3 : 3 + rng.integers(0, 6)]] = 1
    return HeldOutUsers(csr_matrix(told), csr_matrix(hidden))


@settings(max_examples=25, deadline=None)
@given(
    users=st.integers(1, 20),
    items=st.integers(5, 40),
    evening=st.floats(0, 1),
    dimension=st.integers(1, 8),
    seed=st.integers(0, 10_000),
)
def test_the_judge_measures_what_the_protocol_measures(users, items, evening, dimension, seed):
    rng = np.random.default_rng(seed)
    matrix = csr_matrix((rng.random((30, items)) < 0.3).astype(np.float32))
    matrix = csr_matrix(matrix.toarray()[:, rng.permutation(items) // 2 * 2 % items])  # equal columns: equal scores
    asked = held_out(rng, users, items)
    spectrum = decompose(matrix, Weighting(0.4, 0.25), dimension)
    for measures, name in ((VALIDATION, "ndcg@100"), (WEAK, "ndcg@20"), (STRONG, "ndcg@100")):
        judge = Judge(asked, measures, seed=0)
        for ridge, power in ((0.1, 0.0), (0.1, 0.3), (1.0, 0.3)):  # the second is measured from kept products
            shrinkage = Shrinkage(ridge, power, dimension, evening)
            inputs, outputs = item_vectors(spectrum, shrinkage)
            expected = evaluate(lambda rows: (rows @ inputs) @ outputs.T, asked, measures).mean(name)  # noqa: B023
            assert judge.quality(spectrum, shrinkage) == pytest.approx(expected, abs=0.02)


def lists(rows: dict[int, list[int]]) -> str:
    return "".join(f"{user} {' '.join(map(str, items))}\n" for user, items in rows.items())


def odd_shapes() -> dict[str, tuple[dict[int, list[int]], dict[int, list[int]]]]:
    """Training and test items by user."""
    rng = np.random.default_rng(0)
    few = {user: rng.permutation(5).tolist() for user in range(40)}
    taken = {user: (user % 10 * 10 + rng.permutation(10)).tolist() for user in range(100)}
    return {
        "five items": ({u: row[:3] for u, row in few.items()}, {u: row[3:4] for u, row in few.items()}),
        "all users alike": ({u: [1, 2, 3, 4, 5] for u in range(50)}, {u: [6 + u % 2] for u in range(50)}),
        "one item that all took": (
            {u: [999, *row[:5]] for u, row in taken.items()},
            {u: row[5:] for u, row in taken.items()},
        ),
        "a hundred users": ({u: row[:6] for u, row in taken.items()}, {u: row[6:] for u, row in taken.items()}),
        "two users": ({0: [1, 2, 3], 1: [2, 3, 4]}, {0: [4], 1: [1]}),
        "users of one or two items": (
            {u: row[: 1 + u % 2] for u, row in taken.items()},
            {u: row[2:4] for u, row in taken.items()},
        ),
    }


@pytest.mark.parametrize(
    ("shape", "least"),
    [
        ("five items", 1.0),
        ("all users alike", 1.0),
        ("one item that all took", 0.95),
        ("a hundred users", 0.95),
        ("two users", 1.0),
        ("users of one or two items", 0.4),
    ],
)
def test_data_of_an_odd_shape_gets_a_sane_answer(shape, least, tmp_path):
    train, test = odd_shapes()[shape]
    (tmp_path / "train.txt").write_text(lists(train))
    (tmp_path / "test.txt").write_text(lists(test))
    led = Led()
    found = run_model("led", load_split("pairs", tmp_path), model=led).evaluation
    assert found.mean("recall@20") >= least
    assert np.isfinite(led.inputs).all() and np.isfinite(led.outputs).all()
