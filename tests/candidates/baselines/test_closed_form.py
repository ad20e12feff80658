"""Each reference model against a dense, obvious telling of what it solves."""

import numpy as np
import pytest
from scipy.sparse import csr_matrix
from sklearn.linear_model import ElasticNet

from candidates.baselines.ease import Ease, EaseConfig
from candidates.baselines.ials import Ials, IalsConfig
from candidates.baselines.popularity import Popularity
from candidates.baselines.slim import Slim, SlimConfig
from candidates.benchmarks.registry import MODELS, build_model
from candidates.errors import CandidatesError
from candidates.models import user_items
from candidates.models.user_items import item_gram
from tests.support.user_items import SMALL, two_tastes


def test_popularity_proposes_what_most_users_took():
    matrix = two_tastes()
    scores = Popularity().fit(matrix).scores(matrix[:3])
    assert np.array_equal(scores, np.tile(matrix.toarray().sum(0), (3, 1)))


@pytest.mark.parametrize("items", [1, 2, 25])
def test_ease_is_the_constrained_ridge_regression_of_every_item_on_the_others(items):
    matrix = two_tastes(items=items)
    dense = matrix.toarray().astype(np.float64)
    weights = Ease(EaseConfig(l2=3.0)).fit(matrix, show_progress=False).weights
    for item in range(items):
        others = np.delete(np.arange(items), item)
        gram = dense[:, others].T @ dense[:, others] + 3.0 * np.eye(items - 1)
        assert weights[others, item] == pytest.approx(
            np.linalg.solve(gram, dense[:, others].T @ dense[:, item]), abs=1e-5
        )
        assert weights[item, item] == 0


def test_ease_is_the_same_whatever_the_size_of_its_blocks(monkeypatch):
    whole = Ease().fit(two_tastes(), show_progress=False).weights
    monkeypatch.setattr("candidates.baselines.ease._ROWS", 7)
    monkeypatch.setattr(user_items, "GRAM_ROWS", 4)
    assert np.array_equal(Ease().fit(two_tastes(), show_progress=False).weights, whole)


@pytest.mark.parametrize(("l1", "l2"), [(1.0, 2.0), (4.0, 10.0), (0.1, 1.0)])
def test_slim_is_the_non_negative_elastic_net_of_every_item_on_the_others(monkeypatch, l1, l2):
    monkeypatch.setattr("candidates.baselines.slim.BLOCK_BYTES", 4 * 25 * 10)  # three blocks of columns
    matrix = two_tastes()
    dense = matrix.toarray().astype(np.float64)
    users, items = dense.shape
    weights = (
        Slim(SlimConfig(l1=l1, l2=l2, tolerance=1e-7, sweeps=2000)).fit(matrix, show_progress=False).weights.toarray()
    )
    for item in range(items):
        others = np.delete(np.arange(items), item)
        # scikit-learn divides the squared error by 2 x users
        net = ElasticNet(
            alpha=(l1 + l2) / users,
            l1_ratio=l1 / (l1 + l2),
            positive=True,
            fit_intercept=False,
            tol=1e-10,
            max_iter=10**5,
        )
        assert weights[others, item] == pytest.approx(net.fit(dense[:, others], dense[:, item]).coef_, abs=2e-4)
        assert weights[item, item] == 0


def test_slim_of_an_item_nobody_took_has_no_weight_for_it():
    dense = two_tastes().toarray()
    dense[:, 3] = 0
    weights = Slim(SlimConfig(l1=1, l2=1)).fit(csr_matrix(dense), show_progress=False).weights.toarray()
    assert not weights[3].any()
    assert not weights[:, 3].any()


def test_ials_answers_a_stranger_by_solving_their_factors():
    matrix, strangers = two_tastes(), two_tastes(seed=9)[:6]
    config = IalsConfig(factors=4, alpha=5.0, l2=0.5, threads=1, seed=3)
    model = Ials(config).fit(matrix, show_progress=False)
    v = model.item_factors.astype(np.float64)
    for row, found in zip(strangers.toarray(), model.scores(strangers), strict=True):
        confidence = np.where(row > 0, 5.0, 1.0)
        u = np.linalg.solve((v.T * confidence) @ v + 0.5 * np.eye(4), v.T @ (confidence * row))
        assert found == pytest.approx(v @ u, abs=1e-3)


def test_ials_of_one_seed_is_one_model():
    once, again, other = (
        Ials(IalsConfig(factors=4, l2=1, threads=1, seed=seed)).fit(two_tastes(), show_progress=False)
        for seed in (1, 1, 2)
    )
    assert np.array_equal(once.item_factors, again.item_factors)
    assert not np.array_equal(once.item_factors, other.item_factors)


def test_the_gram_matrix_counts_the_users_of_each_pair(monkeypatch):
    monkeypatch.setattr(user_items, "GRAM_ROWS", 4)
    dense = two_tastes().toarray()
    assert np.array_equal(item_gram(csr_matrix(dense)), dense.T @ dense)


@pytest.mark.parametrize("name", MODELS)
def test_every_model_scores_strangers_and_users_without_items(name):
    strangers = csr_matrix(np.concatenate([two_tastes(seed=7).toarray()[:4], np.zeros((1, 25), np.float32)]))
    model = build_model(name, SMALL.get(name)).fit(two_tastes(), show_progress=False)
    scores = model.scores(strangers)
    assert (scores.shape, scores.dtype) == ((5, 25), np.float32)
    assert np.isfinite(scores).all()
    # a row's scores do not depend on the rows beside it
    assert scores[2] == pytest.approx(model.scores(strangers[2])[0], abs=1e-4)


@pytest.mark.parametrize("name", MODELS)
def test_every_model_refuses_a_matrix_it_cannot_mean(name):
    model = build_model(name, SMALL.get(name))
    with pytest.raises(CandidatesError, match="is not fitted yet"):
        model.scores(two_tastes())
    with pytest.raises(CandidatesError, match="must hold 1 for each item a user took, found 2"):
        model.fit(2 * two_tastes())
    with pytest.raises(CandidatesError, match="is empty"):
        model.fit(csr_matrix((3, 4), dtype=np.float32))
    with pytest.raises(CandidatesError, match="sparse matrix"):
        model.fit(np.eye(3))
    model.fit(two_tastes(), show_progress=False)
    with pytest.raises(CandidatesError, match="knows 25 items, the matrix has 24"):
        model.scores(two_tastes(items=24))


def test_settings_are_read_by_their_type_and_wrong_ones_are_told():
    assert build_model("ials", {"factors": "32", "alpha": "2"}, seed=5).config == IalsConfig(
        factors=32, alpha=2.0, seed=5
    )
    for name, settings, expected in (
        ("easy", {}, "there is no model 'easy'"),
        ("ease", {"lambda": "3"}, "ease: lambda: .*expected some of l2"),
        ("ease", {"l2": "many"}, "ease: l2: Input should be a valid number, found 'many'"),
        ("ials", {"factors": "2.5"}, "factors: Input should be a valid integer, found 2.5"),
        ("mult-vae", {"variational": "perhaps"}, "variational: Input should be a valid boolean, found 'perhaps'"),
        ("mult-vae", {"loss": "hinge"}, "loss: Input should be 'multinomial' or 'css', found 'hinge'"),
        ("ease", {"l2": "-1"}, "l2: Input should be greater than 0, found -1"),
        ("slim", {"l2": "0"}, "l2: Input should be greater than 0, found 0"),
    ):
        with pytest.raises(CandidatesError, match=expected):
            build_model(name, settings)
