"""DLRM or the logistic regression: which of them is served, and that its network has the regression's logits."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data.bundle import Bundle, BundleDraft
from data.workspace import Workspace
from ranker.banner.contenders import chosen_contender
from ranker.banner.preparation import Prepared, prepare
from ranker.banner.scorer import BannerScorer
from ranker.banner.served_logistic import as_network, logistic_specification
from ranker.banner.training import RankerConfig, served_metrics, train_ranker
from ranker.banner.workspace_rows import training_rows
from ranker.baselines.logistic import LogisticRanker
from ranker.training.settings import BANNER
from tests.support.logged_shop import make_workspace, show
from tests.support.shop import Shop, candidates_of, make_examples, make_shop, request_of

QUICK = BANNER.changed(epochs=1)


@pytest.fixture(scope="module")
def logged(tmp_path_factory: pytest.TempPathFactory) -> tuple[Shop, Workspace]:
    shop = make_shop()
    workspace = make_workspace(tmp_path_factory.mktemp("contenders"), shop)
    show(workspace, shop, 500)
    return shop, workspace


@pytest.fixture(scope="module")
def rows(logged: tuple[Shop, Workspace]) -> tuple[Any, ...]:
    shop, workspace = logged
    return training_rows(workspace, shop.items, "log", "click", 0)


@pytest.fixture(scope="module")
def prepared(logged: tuple[Shop, Workspace], rows: tuple[Any, ...]) -> Prepared:
    timelines, _, log = rows
    return prepare(logged[0].items, timelines, make_examples(logged[0], 100), log)


def test_the_served_network_has_the_logits_of_the_regression(prepared: Prepared) -> None:
    specification = logistic_specification(prepared.specification)
    best, _ = chosen_contender(prepared, "logistic", QUICK, seed=0)
    regression = LogisticRanker(specification, best.part.rows)
    regression.fit(best.validation, best.validation, 0)
    network = as_network(regression, QUICK)
    for rows in (best.validation, best.test):
        np.testing.assert_allclose(network.logits(rows), regression.logits(rows), atol=1e-5)
        np.testing.assert_allclose(
            network.probability(rows), regression.platt.probability(regression.logits(rows)), atol=1e-6
        )


def test_on_displays_dlrm_is_chosen_only_if_it_is_surely_better(prepared: Prepared) -> None:
    assert prepared.displayed == 500 * 0.75 * 4
    best, figures = chosen_contender(prepared, "auto", QUICK, seed=0)
    losses = figures["model"]["validation_log_loss"]
    assert set(losses) == {"DLRM", "logistic regression"}
    less = figures["model"]["less logistic"]
    assert less["mean"] == pytest.approx(losses["DLRM"] - losses["logistic regression"], abs=1e-6)
    surely = less["mean"] < -2 * less["se"]
    assert figures["model"]["chosen"] == best.name == ("DLRM" if surely else "logistic regression")
    assert {"auc", "log_loss"} <= figures["DLRM"].keys() & figures["logistic regression"].keys()
    alone = chosen_contender(prepared, "dlrm", QUICK, seed=0)[1]["model"]["validation_log_loss"]
    assert alone == {"DLRM": losses["DLRM"]}


def test_a_bundle_serves_the_regression_as_it_was_measured(
    logged: tuple[Shop, Workspace], rows: tuple[Any, ...], prepared: Prepared
) -> None:
    shop, workspace = logged
    timelines, _, log = rows
    config = RankerConfig(model="logistic", training=QUICK)
    with BundleDraft(workspace) as draft:
        draft.take(Bundle.open(workspace.current), ["catalog", "candidates"])
        metrics = train_ranker(draft.folder("ranker"), shop.items, timelines, make_examples(shop, 100), log, config)
        bundle = draft.seal()
    assert served_metrics(metrics) == metrics["logistic regression"]
    assert "DLRM" not in metrics
    best, _ = chosen_contender(prepared, "logistic", QUICK, seed=0)
    scorer = BannerScorer.load(bundle, shop.items)
    request = request_of(shop, 3, 1)
    features = scorer.features(request, candidates_of(shop, 1, 12))
    scores = scorer.score(features)
    weights = best.ranker.model.state_dict()
    dense = (features.dense - weights["dense.mean"].numpy()) * weights["dense.scale"].numpy()
    logit = dense @ weights["linear.weight"][0].numpy() + weights["over.layers.0.bias"].item()
    tables = best.ranker.specification.singles
    ids = [*[[row] * 12 for row in features.request_rows.tolist()], *features.item_rows.tolist()]
    for one, of_feature in zip(tables, ids, strict=True):
        logit += weights[f"embeddings.embedding_bags.{one.table}.weight"][of_feature, -1].numpy()
    logit += weights["position.weight"][1, 0].item()
    np.testing.assert_allclose(scores, best.ranker.platt.probability(logit), atol=1e-5)


def test_without_displays_there_is_dlrm_alone(logged: tuple[Shop, Workspace], tmp_path: Path) -> None:
    shop, _ = logged
    config = RankerConfig(training=QUICK, baselines=False)
    metrics = train_ranker(tmp_path, shop.items, shop.timelines, make_examples(shop, 200), config=config)
    assert metrics["model"]["validation_log_loss"].keys() == {"DLRM"}
