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
from candidates.models import model as model_module
from candidates.models.model import item_gram


def made_up(users: int = 80, items: int = 25, seed: int = 0) -> csr_matrix:
    """Users of two tastes, items of two kinds."""
    rng = np.random.default_rng(seed)
    taste = rng.integers(0, 2, users)[:, None] == (np.arange(items) % 2)[None]
    return csr_matrix((rng.random((users, items)) < np.where(taste, 0.5, 0.1)).astype(np.float32))


def test_popularity_proposes_what_most_users_took():
    matrix = made_up()
    scores = Popularity().fit(matrix).scores(matrix[:3])
    assert np.array_equal(scores, np.tile(matrix.toarray().sum(0), (3, 1)))


@pytest.mark.parametrize("items", [1, 2, 25])
def test_ease_is_the_constrained_ridge_regression_of_every_item_on_the_others(items):
    matrix = made_up(items=items)
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
    whole = Ease().fit(made_up(), show_progress=False).weights
    monkeypatch.setattr("candidates.baselines.ease._ROWS", 7)
    monkeypatch.setattr(model_module, "GRAM_ROWS", 4)
    assert np.array_equal(Ease().fit(made_up(), show_progress=False).weights, whole)


@pytest.mark.parametrize(("l1", "l2"), [(1.0, 2.0), (4.0, 10.0), (0.1, 1.0)])
def test_slim_is_the_non_negative_elastic_net_of_every_item_on_the_others(monkeypatch, l1, l2):
    monkeypatch.setattr("candidates.baselines.slim.BLOCK_BYTES", 4 * 25 * 10)  # three blocks of columns
    matrix = made_up()
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
    dense = made_up().toarray()
    dense[:, 3] = 0
    weights = Slim(SlimConfig(l1=1, l2=1)).fit(csr_matrix(dense), show_progress=False).weights.toarray()
    assert not weights[3].any()
    assert not weights[:, 3].any()


def test_ials_answers_a_stranger_by_solving_their_factors():
    matrix, strangers = made_up(), made_up(seed=9)[:6]
    config = IalsConfig(factors=4, alpha=5.0, l2=0.5, threads=1, seed=3)
    model = Ials(config).fit(matrix, show_progress=False)
    v = model.item_factors.astype(np.float64)
    for row, found in zip(strangers.toarray(), model.scores(strangers), strict=True):
        confidence = np.where(row > 0, 5.0, 1.0)
        u = np.linalg.solve((v.T * confidence) @ v + 0.5 * np.eye(4), v.T @ (confidence * row))
        assert found == pytest.approx(v @ u, abs=1e-3)


def test_ials_of_one_seed_is_one_model():
    once, again, other = (
        Ials(IalsConfig(factors=4, l2=1, threads=1, seed=seed)).fit(made_up(), show_progress=False)
        for seed in (1, 1, 2)
    )
    assert np.array_equal(once.item_factors, again.item_factors)
    assert not np.array_equal(once.item_factors, other.item_factors)


def test_the_gram_matrix_counts_the_users_of_each_pair(monkeypatch):
    monkeypatch.setattr(model_module, "GRAM_ROWS", 4)
    dense = made_up().toarray()
    assert np.array_equal(item_gram(csr_matrix(dense)), dense.T @ dense)


SMALL = {
    "ials": {"factors": "4", "threads": "1"},
    "slim": {"l1": "1", "l2": "1"},
    "ease": {"l2": "5"},
    "elsa": {"dimension": "8", "epochs": "3", "device": "cpu"},
    "mult-dae": {"hidden": "8", "latent": "4", "epochs": "3", "device": "cpu"},
    "mult-vae": {"hidden": "8", "latent": "4", "epochs": "3", "device": "cpu"},
    "mult-vae-css": {"hidden": "8", "latent": "4", "epochs": "3", "device": "cpu", "negatives": "10"},
}


@pytest.mark.parametrize("name", MODELS)
def test_every_model_scores_strangers_and_users_without_items(name):
    strangers = csr_matrix(np.concatenate([made_up(seed=7).toarray()[:4], np.zeros((1, 25), np.float32)]))
    model = build_model(name, SMALL.get(name)).fit(made_up(), show_progress=False)
    scores = model.scores(strangers)
    assert (scores.shape, scores.dtype) == ((5, 25), np.float32)
    assert np.isfinite(scores).all()
    # a row's scores do not depend on the rows beside it
    assert scores[2] == pytest.approx(model.scores(strangers[2])[0], abs=1e-4)


@pytest.mark.parametrize("name", MODELS)
def test_every_model_refuses_a_matrix_it_cannot_mean(name):
    model = build_model(name, SMALL.get(name))
    with pytest.raises(CandidatesError, match="is not fitted yet"):
        model.scores(made_up())
    with pytest.raises(CandidatesError, match="must hold 1 for each item a user took, found 2"):
        model.fit(2 * made_up())
    with pytest.raises(CandidatesError, match="is empty"):
        model.fit(csr_matrix((3, 4), dtype=np.float32))
    with pytest.raises(CandidatesError, match="sparse matrix"):
        model.fit(np.eye(3))
    model.fit(made_up(), show_progress=False)
    with pytest.raises(CandidatesError, match="knows 25 items, the matrix has 24"):
        model.scores(made_up(items=24))


def test_settings_are_read_by_their_type_and_wrong_ones_are_told():
    assert build_model("ials", {"factors": "32", "alpha": "2"}, seed=5).config == IalsConfig(
        factors=32, alpha=2.0, seed=5
    )
    for name, settings, expected in (
        ("easy", {}, "there is no model 'easy'"),
        ("ease", {"lambda": "3"}, "has no setting 'lambda'; expected one of l2"),
        ("ease", {"l2": "many"}, "setting ease.l2 is 'many'; expected a number"),
        ("ials", {"factors": "2.5"}, "expected a whole number"),
        ("mult-vae", {"variational": "perhaps"}, "expected true or false"),
        ("mult-vae", {"loss": "hinge"}, "'multinomial' or 'css'"),
        ("ease", {"l2": "-1"}, "must be positive"),
        ("slim", {"l2": "0"}, "l2 > 0"),
    ):
        with pytest.raises(CandidatesError, match=expected):
            build_model(name, settings)
