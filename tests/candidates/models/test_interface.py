"""What every model offers beside scores: recommendations, similar items, item vectors, saving and loading."""

import json
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_matrix

from candidates.baselines.ease import Ease, EaseConfig
from candidates.baselines.ials import Ials, IalsConfig
from candidates.baselines.popularity import Popularity
from candidates.benchmarks.registry import MODELS, build_model, load_model
from candidates.benchmarks.runner import IN_THIS_PROCESS
from candidates.errors import CandidatesError
from candidates.led.model import Led
from candidates.models import ranking
from candidates.models.model import UserItemModel, at_once
from tests.support.user_items import SMALL, two_tastes

LEDS = [name for name in MODELS if name.startswith("led")]
VECTORS = ("ials", "elsa", "mult-dae", "mult-vae", "mult-vae-css", "paper-vae", *LEDS)


@dataclass
class Given(UserItemModel):
    """Scores that were given, one row for each user."""

    found: np.ndarray
    title = "Given"

    def _fit(self, user_items, validation, show_progress):
        raise AssertionError

    def _scores(self, user_items):
        return self.found[: user_items.shape[0]]

    def _state(self):
        raise AssertionError

    def _restore(self, arrays):
        raise AssertionError


def fitted(name: str) -> UserItemModel:
    return build_model(name, SMALL.get(name)).fit(two_tastes(), show_progress=False)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    users=st.integers(0, 6),
    items=st.integers(1, 12),
    k=st.integers(1, 15),
    exclude=st.booleans(),
)
def test_recommendations_are_the_sorted_scores_without_what_the_user_has(seed, users, items, k, exclude):
    rng = np.random.default_rng(seed)
    row, seen = rng.integers(0, 4, items).astype(np.float32), rng.random((users, items)) < 0.4
    model = Given(np.tile(row, (users, 1)))
    model._items = items
    found = model.recommend(csr_matrix(seen.astype(np.float32)), k, exclude)
    assert (found.items.shape, found.items.dtype, found.scores.dtype) == ((users, k), np.int32, np.float32)
    for user in range(users):
        left = [item for item in range(items) if not (exclude and seen[user, item])]
        expected = sorted(left, key=lambda item: (-row[item], item))[:k]
        none = k - len(expected)
        assert found.items[user].tolist() == expected + [-1] * none
        assert found.scores[user].tolist() == [row[item] for item in expected] + [-np.inf] * none


@pytest.mark.parametrize("name", MODELS)
def test_every_model_recommends_what_it_scores_highest(name, monkeypatch):
    monkeypatch.setattr(ranking, "BATCH_BYTES", 4 * 25 * 2)  # two users at a time
    model, users = fitted(name), two_tastes(seed=7)[:5]
    scores = model.scores(users)
    scores[users.nonzero()] = -np.inf
    found = model.recommend(users, 4)
    assert found.scores == pytest.approx(-np.sort(-scores, axis=1)[:, :4], abs=1e-4)
    assert not np.any([np.isin(row, users[user].indices) for user, row in enumerate(found.items)])


@pytest.mark.parametrize("name", [*VECTORS, "ease", "slim"])
def test_similar_items_are_of_the_same_kind_and_never_the_item_itself(name, monkeypatch):
    monkeypatch.setattr(ranking, "BATCH_BYTES", 4 * 25 * 3)
    model = build_model(name, {**SMALL.get(name, {}), **({"epochs": "100"} if name in VECTORS[1:] else {})})
    model.fit(two_tastes(400), show_progress=False)
    asked = np.arange(25)
    found = model.similar_items(asked, 24)
    assert all(item not in row for item, row in zip(asked, found.items, strict=True))
    assert [sorted(row) for row in found.items.tolist()] == [[i for i in range(25) if i != item] for item in asked]
    assert (found.items[:, :3] % 2 == asked[:, None] % 2).mean() > 0.75  # even items go with even ones
    assert np.array_equal(model.similar_items([3], 2).items[0], found.items[3, :2])


@pytest.mark.parametrize("name", VECTORS)
def test_similar_items_are_those_of_the_greatest_cosine(name):
    model = fitted(name)
    vectors = model.item_vectors
    assert (len(vectors), vectors.dtype) == (25, np.float32)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    cosine = unit @ unit.T
    np.fill_diagonal(cosine, -np.inf)
    found = model.similar_items(range(25), 5)
    assert found.scores == pytest.approx(-np.sort(-cosine, axis=1)[:, :5], abs=1e-5)


def test_what_a_model_cannot_answer_is_one_sentence():
    with pytest.raises(CandidatesError, match="EASE has no item vectors"):
        fitted("ease").item_vectors  # noqa: B018
    with pytest.raises(CandidatesError, match="Popularity has no item vectors"):
        fitted("popularity").similar_items([0], 3)
    with pytest.raises(CandidatesError, match="iALS is not fitted yet"):
        Ials().recommend(two_tastes(), 3)
    model = fitted("ease")
    for items, expected in (([25], "from 0 to 24"), ([-1], "from 0 to 24"), ([0.5], "whole numbers"), (3, "whole")):
        with pytest.raises(CandidatesError, match=expected):
            model.similar_items(items, 3)
    for k in (0, -2):
        with pytest.raises(CandidatesError, match="expected at least 1"):
            model.recommend(two_tastes(), k)
    with pytest.raises(CandidatesError, match="knows 25 items, the matrix has 24"):
        model.recommend(two_tastes(items=24), 3)


def test_settings_may_be_given_by_name():
    assert Ials(factors=64, l2=3).config.factors == 64
    with pytest.raises(CandidatesError, match="factors: Input should be greater than or equal to 1, found 0"):
        Ials(factors=0)
    with pytest.raises(CandidatesError, match="did you mean factors"):
        Ials(factor=3)
    for config, named in ((IalsConfig(), {"factors": 3}), (EaseConfig(), {}), ({"factors": 3}, {})):
        with pytest.raises(CandidatesError, match="Ials takes its IalsConfig or settings by name"):
            Ials(config, **named)


def test_a_model_whose_fit_was_interrupted_is_not_fitted(monkeypatch):
    def interrupted(user_items):
        raise KeyboardInterrupt

    model = fitted("ease")
    monkeypatch.setattr("candidates.baselines.ease.item_gram", interrupted)
    with pytest.raises(KeyboardInterrupt):
        model.fit(two_tastes(items=30), show_progress=False)
    with pytest.raises(CandidatesError, match="not fitted yet"):
        model.recommend(two_tastes(items=30), 3)


def test_a_led_that_was_loaded_says_so_instead_of_being_fitted_again(tmp_path):
    Led(tuning="spectral", dimension=8).fit(two_tastes(), show_progress=False).save(tmp_path / "led")
    again = Led.load(tmp_path / "led")
    assert (again.made, again.history, again.values, again.chosen()) == (None, None, None, {})
    with pytest.raises(CandidatesError, match="LED was loaded; expected one that fit chose settings for"):
        again.refit(two_tastes())


@pytest.mark.parametrize("name", MODELS)
def test_a_model_that_was_saved_and_loaded_gives_equal_scores(name, tmp_path):
    model, strangers = fitted(name), two_tastes(seed=7)[:6]
    model.save(tmp_path / "model")
    for again in (type(model).load(tmp_path / "model"), load_model(tmp_path / "model")):
        assert (type(again), again.title, again.config) == (type(model), model.title, model.config)
        np.testing.assert_array_equal(again.scores(strangers), model.scores(strangers))
    assert {one.name for one in (tmp_path / "model").iterdir()} == {"model.json", "arrays.safetensors"}


def test_saving_again_replaces_the_folder_and_nothing_else_is_replaced(tmp_path):
    place = tmp_path / "deep" / "model"
    Ease(l2=5).fit(two_tastes(), show_progress=False).save(place)
    Ease(l2=7).fit(two_tastes(), show_progress=False).save(place)
    assert Ease.load(place).config.l2 == 7
    assert [one.name for one in place.parent.iterdir()] == ["model"]
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "note.txt").write_text("mine")
    with pytest.raises(CandidatesError, match="holds no model"):
        fitted("ease").save(tmp_path / "other")
    (tmp_path / "other" / "model.json").write_text("also mine")
    with pytest.raises(CandidatesError, match="holds no model"):
        fitted("ease").save(tmp_path / "other")
    assert (tmp_path / "other" / "note.txt").read_text() == "mine"
    (tmp_path / "file").write_text("mine")
    for place in ("file", "file/model"):
        with pytest.raises(CandidatesError, match=r"holds no model|can be written"):
            fitted("ease").save(tmp_path / place)
    with pytest.raises(CandidatesError, match="not fitted yet"):
        Ease().save(tmp_path / "model")


def test_what_is_no_saved_model_of_the_kind_is_refused(tmp_path):
    place = tmp_path / "model"
    with pytest.raises(CandidatesError, match="expected the folder of a saved model"):
        Ease.load(place)
    fitted("ease").save(place)
    with pytest.raises(CandidatesError, match="holds a model of the kind Ease; expected Ials"):
        Ials.load(place)
    described = json.loads((place / "model.json").read_text())
    arrays = (place / "arrays.safetensors").read_bytes()
    for broken, expected in (
        ({"config": {"l2": -1}}, "l2: Input should be greater than 0"),
        ({"kind": "Oracle"}, "of the kind Oracle"),
        ({"format": 99}, "format 99"),
        ({"items": "many"}, "items: Input should be a valid integer"),
    ):
        (place / "model.json").write_text(json.dumps(described | broken))
        with pytest.raises(CandidatesError, match=expected):
            load_model(place)
    (place / "model.json").write_text("{")
    with pytest.raises(CandidatesError, match="expected the description of a saved model"):
        load_model(place)
    (place / "model.json").write_text(json.dumps(described))
    flipped = bytearray(arrays)
    flipped[-1] ^= 1
    for content in (bytes(flipped), arrays[:40], b""):
        (place / "arrays.safetensors").write_bytes(content)
        with pytest.raises(CandidatesError, match="SHA-256 differs"):
            Ease.load(place)


def test_arrays_of_another_model_are_refused(tmp_path):
    fitted("popularity").save(tmp_path / "popularity")
    described = json.loads((tmp_path / "popularity" / "model.json").read_text())
    (tmp_path / "popularity" / "model.json").write_text(json.dumps(described | {"kind": "Ease", "config": {"l2": 5}}))
    with pytest.raises(CandidatesError, match="expected the arrays of Ease"):
        load_model(tmp_path / "popularity")


def test_popularity_recommends_the_most_taken_first():
    matrix = csr_matrix(np.array([[1, 1, 0], [0, 1, 0], [0, 1, 1], [0, 0, 1]], np.float32))
    found = Popularity().fit(matrix).recommend(matrix[:2], 2)
    assert found.items.tolist() == [[2, -1], [2, 0]]


def test_no_more_processes_run_than_memory_holds_of_the_greatest_model(monkeypatch):
    monkeypatch.setattr("candidates.models.model.available_memory", lambda: 12 * 100**2 * 3)
    models = [Popularity(), Ease(), Ials()]
    assert [at_once(models, 100, processes) for processes in (1, 2, 8)] == [1, 2, 3]
    assert at_once(models, 1000, 8) == 1  # whether one fits at all is asked before
    assert at_once([Popularity()], 1000, 8) == 8
    assert at_once(models, 100, IN_THIS_PROCESS) == IN_THIS_PROCESS
