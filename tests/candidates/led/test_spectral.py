"""Spectral item vectors against the dense formula, and their choice on validation users."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_matrix

from candidates.baselines.popularity import Popularity
from candidates.benchmarks.benchmark import run_model
from candidates.config import LedConfig, SpectralGrid, SpectralValues
from candidates.errors import CandidatesError
from candidates.led.model import Led
from candidates.led.presets import WIDE
from candidates.led.spectral import spectral_vectors
from candidates.matrices.spectral import Spectrum, decompose
from candidates.matrices.spectral_choice import choose, weightings
from candidates.protocols.metrics import VALIDATION, WEAK, evaluate
from candidates.protocols.splits import HeldOutUsers, Split

WIDE_GRID = SpectralGrid(**WIDE["grid"])


def values_of(ridge: float, output_power: float, dimension: int, normalisation: float = 0.0) -> SpectralValues:
    return SpectralValues(
        ridge=ridge, output_power=output_power, dimension=dimension, length_normalisation=normalisation
    )


def item_vectors(spectrum: Spectrum, values: SpectralValues) -> tuple[np.ndarray, np.ndarray]:
    """(input vectors, output vectors)."""
    found = spectral_vectors(spectrum, values, 1.0)
    return found.inputs, found.vectors


def tastes(users: int, items: int, seed: int, groups: int = 4) -> csr_matrix:
    """Users who take mostly items of their own group, and popular ones more often."""
    rng = np.random.default_rng(seed)
    group_of_item, group_of_user = rng.integers(0, groups, items), rng.integers(0, groups, users)
    popularity = rng.uniform(0.3, 1, items)
    share = np.where(group_of_user[:, None] == group_of_item[None, :], 0.4, 0.02) * popularity
    return csr_matrix((rng.random((users, items)) < share).astype(np.float32))


def dense_scores(matrix: np.ndarray, powers: tuple[float, float], shrinkage: SpectralValues) -> np.ndarray:
    """The module's formulas, written out with whole matrices."""
    lengths = np.maximum(matrix.sum(1), 1)
    counts = np.maximum(matrix.sum(0), 1)
    weighted = np.diag(lengths ** -powers[0]) @ matrix @ np.diag(counts ** -powers[1])
    _, values, right = np.linalg.svd(weighted, full_matrices=False)
    passed = values**2 / (values**2 + shrinkage.ridge * values[0] ** 2)
    kept = slice(shrinkage.dimension)
    smoothing = right[kept].T @ np.diag(passed[kept]) @ right[kept]
    lengths = np.sqrt(np.diag(smoothing).clip(0))
    lengths = np.maximum(lengths, lengths.mean() / 1_000)
    outputs = counts**shrinkage.output_power * lengths**-shrinkage.length_normalisation
    item_map = np.diag(counts ** -powers[1]) @ smoothing @ np.diag(outputs)
    return matrix @ item_map


@settings(max_examples=25, deadline=None)
@given(
    users=st.integers(5, 30),
    items=st.integers(3, 20),
    user_power=st.floats(0, 1),
    item_power=st.floats(0, 1),
    ridge=st.floats(0.001, 0.5),
    output_power=st.floats(0, 1),
    normalisation=st.floats(0, 1),
    seed=st.integers(0, 10_000),
)
def test_the_vectors_score_as_the_dense_formula_does(
    users, items, user_power, item_power, ridge, output_power, normalisation, seed
):
    matrix = tastes(users, items, seed).tolil()
    matrix[0, 0] = 1
    matrix = matrix.tocsr()
    powers, shrinkage = (user_power, item_power), values_of(ridge, output_power, items, normalisation)
    spectrum = decompose(matrix, *powers, items, seed=seed)
    inputs, outputs = item_vectors(spectrum, shrinkage)
    expected = dense_scores(matrix.toarray().astype(np.float64), powers, shrinkage)
    taken = np.asarray(matrix.sum(axis=0))[0] > 0  # the dense formula divides what nobody took by nought
    found = (matrix @ inputs) @ outputs.T
    np.testing.assert_allclose(
        found[:, taken], expected[:, taken], rtol=1e-3, atol=1e-4 * np.abs(expected[:, taken]).max()
    )
    assert np.abs(found[:, ~taken]).max(initial=0) < 1e-6


def test_without_weights_they_are_ridge_regression_of_a_user_on_themselves():
    matrix = tastes(60, 12, seed=3)
    spectrum = decompose(matrix, 0, 0, 12)
    inputs, outputs = item_vectors(spectrum, values_of(0.1, 0, 12))
    gram = (matrix.T @ matrix).toarray().astype(np.float64)
    penalty = 0.1 * np.linalg.eigvalsh(gram)[-1]
    np.testing.assert_allclose(inputs @ outputs.T, np.linalg.solve(gram + penalty * np.eye(12), gram), atol=1e-5)


def test_a_smaller_dimension_keeps_the_leading_vectors():
    spectrum = decompose(tastes(80, 20, seed=1), 0.4, 0.4, 20)
    whole, small = (item_vectors(spectrum, values_of(0.02, 0.3, d)) for d in (20, 5))
    for one, other in zip(whole, small, strict=True):
        assert other.shape == (20, 5) and other.dtype == np.float32
        np.testing.assert_array_equal(one[:, :5], other)


def test_length_normalisation_lets_few_vectors_find_items_of_kinds_that_they_hardly_know():
    rng = np.random.default_rng(0)
    sizes = 1 / np.arange(1, 61)  # of sixty kinds the first has most users
    kind_of_user, kind_of_item = rng.choice(60, 1_500, p=sizes / sizes.sum()), np.arange(360) % 60
    share = np.where(kind_of_user[:, None] == kind_of_item[None, :], 0.7, 0.01)
    matrix = csr_matrix((rng.random(share.shape) < share).astype(np.float32))
    hidden = csr_matrix(matrix.toarray() * (rng.random(matrix.shape) < 0.3))
    told = csr_matrix(matrix - hidden)
    told.eliminate_zeros()
    asked = np.flatnonzero(np.diff(hidden.indptr) * np.diff(told.indptr))
    users = HeldOutUsers(told[asked], hidden[asked])
    spectrum, found = decompose(told, 0.4, 0.4, 12), {}
    for normalisation in (0.0, 1.0):
        inputs, outputs = item_vectors(spectrum, values_of(0.02, 0.2, 12, normalisation))
        found[normalisation] = evaluate(lambda rows: (rows @ inputs) @ outputs.T, users, WEAK).mean("recall@20")  # noqa: B023
    assert found[1.0] > 1.05 * found[0.0]


def test_an_item_that_nobody_took_is_never_proposed_before_one_that_shares_users_with_the_history():
    matrix = csr_matrix(np.hstack([tastes(80, 20, seed=1).toarray(), np.zeros((80, 3))]).astype(np.float32))
    inputs, outputs = item_vectors(decompose(matrix, 0.4, 0.4, 10), values_of(0.02, 0.3, 10, 1.0))
    assert np.abs(outputs[20:]).max() < 1e-6 * np.abs(outputs).max()
    assert np.isfinite(inputs).all() and np.isfinite(outputs).all()


def test_more_threads_give_the_same_vectors_to_rounding():
    matrix = tastes(200, 30, seed=5)
    one, four = (decompose(matrix, 0.4, 0.4, 8, seed=2, threads=n).vectors for n in (1, 4))
    np.testing.assert_allclose(one, four, atol=1e-9)


def test_a_large_matrix_is_decomposed_in_single_precision_to_the_same_scores(monkeypatch):
    matrix, shrinkage = tastes(300, 60, seed=6), values_of(0.02, 0.3, 12, 0.5)
    scores = []
    for large in (10**9, 0):
        monkeypatch.setattr("candidates.matrices.spectral._LARGE", large)
        spectrum = decompose(matrix, 0.4, 0.4, 12)
        inputs, outputs = item_vectors(spectrum, shrinkage)
        scores.append((matrix @ inputs) @ outputs.T)
    assert spectrum.vectors.dtype == np.float32
    np.testing.assert_allclose(scores[0], scores[1], atol=1e-4 * np.abs(scores[0]).max())


def test_an_empty_matrix_and_a_negative_ridge_are_refused():
    with pytest.raises(CandidatesError, match="is empty"):
        decompose(csr_matrix((3, 4)), 0, 0, 2)
    with pytest.raises(CandidatesError, match=r"spectral.ridge: .* greater than or equal to 0, found -0.1"):
        Led(spectral={"ridge": -0.1})


def test_the_choice_is_the_best_of_everything_tried():
    tried = {}

    def quality(spectrum, values):
        user_power, item_power = spectrum
        value = -abs(user_power - 0.4) - abs(item_power - 0.5) - abs(values.ridge - 0.02)
        value -= abs(values.dimension - 200) / 1e4 + abs(values.output_power - 0.4)
        value -= abs(values.length_normalisation - 0.5) + abs(values.bias - 0.03)
        tried[spectrum, values] = value
        return value

    notes = []
    grid = WIDE_GRID.changed(biases=(0.0, 0.03))
    choice = choose(grid, lambda user, item, dimension: (user, item), quality, notes.append)
    assert choice.quality == max(tried.values())
    expected = SpectralValues(
        user_power=0.4, item_power=0.5, ridge=0.02, output_power=0.4, length_normalisation=0.5, bias=0.03, dimension=200
    )
    assert (choice.values, choice.spectrum) == (expected, (0.4, 0.5))
    assert len(notes) == weightings(grid) + 1


@pytest.mark.parametrize(
    ("best", "decomposed"),
    [(100, [400]), (400, [400, 800]), (800, [400, 800, 1_200]), (5_000, [400, 800, 1_200])],
)
def test_wider_vectors_are_tried_only_as_long_as_the_widest_is_the_best(best, decomposed):
    asked = []

    def spectrum_of(user_power, item_power, dimension):
        asked.append(dimension)
        return user_power, item_power

    choice = choose(WIDE_GRID, spectrum_of, lambda spectrum, values: -abs(values.dimension - best))
    assert asked[weightings(WIDE_GRID) :] == decomposed
    assert choice.values.dimension == min(best, 1_200)
    assert max(WIDE_GRID.within(600).wider) == 600
    assert WIDE_GRID.within(30).dimensions == (30,)


def test_an_empty_grid_is_refused():
    with pytest.raises(CandidatesError, match=r"ridges: .* at least 1 item"):
        Led(grid={"ridges": ()})


def strangers(seed: int) -> Split:
    """Users of the same tastes for training, validation and test; half of each held-out row is hidden."""
    matrix = tastes(500, 40, seed)
    rng = np.random.default_rng(seed)
    held = []
    for part in (matrix[300:400], matrix[400:]):
        hidden = rng.random(part.shape) < 0.5
        fold_in, targets = (csr_matrix(part.toarray() * one) for one in (~hidden, hidden))
        asked = np.flatnonzero(np.diff(targets.indptr))
        held.append(HeldOutUsers(fold_in[asked], targets[asked]))
    return Split("strong", matrix[:300], matrix[:300], held[0], held[1], np.arange(40))


def test_the_default_beats_popularity_and_chooses_within_its_dimension():
    split = strangers(seed=11)
    led = Led(tuning="spectral", dimension=16).fit(split.train, split.validation, show_progress=False)
    best = Popularity().fit(split.train, show_progress=False)
    found, floor = (evaluate(one.scores, split.test, VALIDATION).mean("ndcg@100") for one in (led, best))
    assert found > floor + 0.1
    assert led.item_vectors.shape == (40, 16) and led.values.dimension == 16


def test_a_user_without_history_is_scored_by_popularity():
    split = strangers(seed=12)
    led = Led(tuning="spectral").fit(split.train, show_progress=False)
    scores, popularity = led.scores(csr_matrix((1, 40)))[0], np.asarray(split.train.sum(axis=0))[0]
    np.testing.assert_array_equal(np.argsort(-scores, kind="stable"), np.argsort(-popularity, kind="stable"))


def test_under_weak_generalisation_it_is_fitted_again_on_what_validation_hid():
    split = strangers(seed=13)
    more = csr_matrix(split.train.maximum(tastes(300, 40, seed=14)))
    weak = Split("weak", more, split.train, split.validation, split.test, split.item_ids)
    by_hand = Led(LedConfig(**WIDE)).fit(split.train, split.validation, show_progress=False).refit(more)
    found, expected = run_model("led", weak).evaluation, evaluate(by_hand.scores, split.test, WEAK)
    np.testing.assert_array_equal(found.per_user["ndcg@20"], expected.per_user["ndcg@20"])
    not_again = Led(LedConfig(**WIDE)).fit(split.train, split.validation, show_progress=False)
    assert not np.array_equal(by_hand.item_vectors, not_again.item_vectors)


def test_a_model_that_was_not_fitted_cannot_be_fitted_again():
    with pytest.raises(CandidatesError, match="cannot be fitted again"):
        Led(tuning="spectral").refit(tastes(10, 4, seed=0))
    with pytest.raises(CandidatesError, match="knows 40 items"):
        Led(tuning="spectral").fit(strangers(15).train, show_progress=False).refit(tastes(10, 4, seed=0))
