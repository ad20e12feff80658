"""What LED is chosen by, against the protocol's and the bundle's own measures; and its answers on odd data."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_matrix

from candidates.benchmarks.benchmark import run_model
from candidates.benchmarks.datasets import load_split
from candidates.config import LedConfig, SpectralValues
from candidates.evaluation import evaluate_sources
from candidates.led.country_training import unknown_items
from candidates.led.model import Led
from candidates.led.presets import WIDE
from candidates.led.source import LedCountry
from candidates.led.spectral import spectral_vectors
from candidates.led.validation import NdcgScorer, RecallScorer
from candidates.led.vectors import LedVectors
from candidates.matrices.spectral import decompose
from candidates.protocols.metrics import STRONG, VALIDATION, WEAK, evaluate
from candidates.protocols.splits import HeldOutUsers
from candidates.training import prepared
from candidates.training_set import Stopwatch
from tests.support.candidates import SMALL


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
    normalisation=st.floats(0, 1),
    bias=st.sampled_from([0.0, 0.05]),
    dimension=st.integers(1, 8),
    seed=st.integers(0, 10_000),
)
def test_ndcg_is_what_the_protocol_measures(users, items, normalisation, bias, dimension, seed):
    rng = np.random.default_rng(seed)
    matrix = csr_matrix((rng.random((30, items)) < 0.3).astype(np.float32))
    matrix[0, 0] = 1
    asked = held_out(rng, users, items)
    spectrum = decompose(matrix, 0.4, 0.25, dimension)
    for measures, name in ((VALIDATION, "ndcg@100"), (WEAK, "ndcg@20"), (STRONG, "ndcg@100")):
        scorer = NdcgScorer(asked, measures, seed=0)
        assert scorer.measure == name
        for ridge, power in ((0.1, 0.0), (0.1, 0.3), (1.0, 0.3)):  # the second is measured from kept products
            values = SpectralValues(
                user_power=0.4,
                item_power=0.25,
                ridge=ridge,
                output_power=power,
                dimension=dimension,
                length_normalisation=normalisation,
                bias=bias,
            )
            vectors = spectral_vectors(spectrum, values, 1.0)
            expected = evaluate(vectors.scores, asked, measures)
            found = scorer.per_user(vectors)
            assert found == pytest.approx(expected.per_user[name], abs=1e-6)
            # rounding may turn ties, of which one dimension has many
            assert scorer.of_spectrum(spectrum, values, 1.0) == pytest.approx(
                found.mean(), abs=0.3 if dimension < 3 else 0.05
            )


@pytest.fixture(scope="module")
def asked_of_a_country(trained):
    with prepared(trained.events, trained.items, SMALL, 3, Stopwatch()) as (training, _):
        yield training, training.countries[1]  # a small country does not know every item


@pytest.mark.parametrize("seed", range(3))
def test_recall_is_that_of_the_served_led(asked_of_a_country, seed):
    training, country = asked_of_a_country
    unknown = unknown_items(training, country)
    rng, items = np.random.default_rng(seed), len(country.items.items)
    vectors = LedVectors(
        rng.standard_normal((items, 6)).astype(np.float32),
        rng.uniform(0.5, 2, items).astype(np.float32),
        rng.standard_normal(items).astype(np.float32),
        0.5,
    )
    source = LedCountry.of(vectors, country.items, training.items, unknown)
    expected = evaluate_sources({"led": source}, country.validation)["led"]
    for k in (20, 50):
        found = RecallScorer(country.items, training.items, unknown, country.validation, k).per_user(vectors)
        assert (len(found), found.mean()) == (expected["users"], pytest.approx(expected[f"recall@{k}"]))


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
        ("users of one or two items", 0.36),  # a hundred of them: by the seed .37 to .44
    ],
)
def test_data_of_an_odd_shape_gets_a_sane_answer(shape, least, tmp_path):
    train, test = odd_shapes()[shape]
    (tmp_path / "train.txt").write_text(lists(train))
    (tmp_path / "test.txt").write_text(lists(test))
    led = Led(LedConfig(**WIDE))
    found = run_model("led", load_split("pairs", tmp_path), model=led).evaluation
    assert found.mean("recall@20") >= least
    assert np.isfinite(led.vectors.inputs).all() and np.isfinite(led.vectors.vectors).all()
