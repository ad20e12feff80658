"""Train in a run of its own: encode a workspace's rows, fit on them with several processes, export to a bundle."""

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from data.bundle import Bundle
from data.workspace import Workspace
from ranker.banner.bundling import encode_rows, export_run_to_bundle, train_bundle
from ranker.banner.scorer import BannerScorer
from ranker.banner.training import RankerConfig
from ranker.cli import app
from ranker.errors import RankerError
from ranker.features.specification import read_specification
from ranker.training.examples_source import open_examples
from ranker.training.fit import FitJob
from ranker.training.from_run import ranker_of_run
from ranker.training.launch import launch
from ranker.training.plan import ShardingConstraints
from ranker.training.ranker import DlrmRanker
from ranker.training.settings import BANNER
from tests.support.logged_shop import make_workspace
from tests.support.ranker_runs import fit_all
from tests.support.shop import MERCHANTS, Shop, candidates_of, make_examples, request_of

SMALL = BANNER.changed(
    epochs=2, batch=256, tables=BANNER.tables.changed(epsilon=1e-4), mlps=BANNER.mlps.changed(epsilon=1e-4)
)


@pytest.fixture(scope="module")
def served(shop: Shop, compiled_once: None, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    workspace = make_workspace(tmp_path_factory.mktemp("served") / "w", shop)
    pq.write_table(make_examples(shop, 600), workspace.root / "examples.parquet")
    return workspace


@pytest.fixture
def workspace(served: Workspace, tmp_path: Path) -> Workspace:
    shutil.copytree(served.root, tmp_path / "w", symlinks=True)
    return Workspace(tmp_path / "w")


def scores(bundle: Bundle, shop: Shop) -> np.ndarray:
    scorer = BannerScorer.load(bundle, shop.items)
    found = []
    for user in range(6):
        features = scorer.features(request_of(shop, user, user % MERCHANTS), candidates_of(shop, user % MERCHANTS, 40))
        found.append(scorer.score(features))
    return np.concatenate(found)


@pytest.mark.slow
def test_two_processes_train_the_ranker_of_one_and_the_scorer_serves_it(workspace: Workspace, shop: Shop) -> None:
    """Drop-out, AdamW, early stopping, calibration and all; the tables lie on two processes."""
    found = {}
    for processes in (1, 2):
        config = RankerConfig(training=SMALL, baselines=False, processes=processes)
        bundle = train_bundle(workspace, "timelines", config, seed=4)
        ranker = DlrmRanker.load(bundle.ranker, read_specification(bundle.ranker / "specification.yaml"))
        found[processes] = ranker, scores(bundle, shop), bundle.metrics["ranker"]["DLRM"]
    (one, of_one, figures), (two, of_two, again) = found.values()
    for name, weight in one.model.state_dict().items():
        np.testing.assert_allclose(two.model.state_dict()[name], weight, atol=1e-4, rtol=1e-3, err_msg=name)
    assert (one.steps, one.config) == (two.steps, two.config)
    np.testing.assert_allclose(of_two, of_one, rtol=2e-3)
    assert again["auc"] == pytest.approx(figures["auc"], abs=1e-3)


@pytest.mark.slow
def test_a_run_on_encoded_rows_exported_to_a_bundle_is_the_ranker_that_train_makes(
    workspace: Workspace, shop: Shop, tmp_path: Path
) -> None:
    trained = train_bundle(workspace, "timelines", RankerConfig(training=SMALL, baselines=False), seed=4)
    expected = scores(trained, shop)
    prepared = encode_rows(workspace, tmp_path / "rows", "timelines")
    assert open_examples(tmp_path / "rows").rows("train") == len(prepared.train)
    job = FitJob(tmp_path / "rows", tmp_path / "run", SMALL.changed(seed=4), ShardingConstraints(), shown=False)
    [figures] = launch(1, "cpu", 1, fit_all, [job])
    assert figures["best_step"] == DlrmRanker.load(trained.ranker, prepared.specification).steps
    arguments = ["export", str(tmp_path / "run"), "-w", str(workspace.root), "--json", str(tmp_path / "f.json")]
    assert CliRunner().invoke(app, arguments, catch_exceptions=False).exit_code == 0
    bundle = Bundle.open(workspace.current)
    assert bundle.version == json.loads((tmp_path / "f.json").read_text())["figures"]["bundle"] != trained.version
    np.testing.assert_allclose(scores(bundle, shop), expected, rtol=1e-5)
    assert bundle.metrics["ranker"]["DLRM"]["auc"] == pytest.approx(trained.metrics["ranker"]["DLRM"]["auc"])
    ranker = ranker_of_run(tmp_path / "run", calibrated=True)
    test = open_examples(tmp_path / "rows").splits["test"]
    loaded = DlrmRanker.load(bundle.ranker, prepared.specification)
    np.testing.assert_array_equal(loaded.probability(test), ranker.probability(test))


def test_rows_are_encoded_once_and_keep_their_features(workspace: Workspace, tmp_path: Path) -> None:
    encode = ["encode", "-w", str(workspace.root), "-o", str(tmp_path / "rows")]
    assert CliRunner().invoke(app, encode, catch_exceptions=False).exit_code == 0
    again = CliRunner().invoke(app, encode)
    assert isinstance(again.exception, RankerError) and "rows" in str(again.exception)
    job = FitJob(tmp_path / "rows", tmp_path / "run", SMALL.changed(dimension=8), ShardingConstraints(), shown=False)
    with pytest.raises(RankerError, match="these rows are encoded with their features"):
        launch(1, "cpu", 1, fit_all, [job])


def test_a_run_on_rows_of_another_catalog_is_not_exported(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its counts per item would be those of other items."""
    prepared = encode_rows(workspace, tmp_path / "run", "timelines")
    monkeypatch.setattr("ranker.banner.bundling.ranker_of_run", lambda *_, **__: prepared)
    part = tmp_path / "run" / "banner" / "part.json"
    part.write_text(json.dumps({**json.loads(part.read_text()), "catalog": "of yesterday"}))
    with pytest.raises(RankerError, match="encoded for another catalog"):
        export_run_to_bundle(workspace, tmp_path / "run")
