"""A click log of one's own, from the text to scores: `data clicks`, then fit, evaluate, predict, export and compare."""

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from data.criteo.clicks import ClickColumns, convert_clicks, read_clicks
from ranker.cli import app
from ranker.comparison.preparation import Preparation
from ranker.comparison.settings import CompareSettings, LogColumns
from ranker.errors import RankerError
from ranker.evaluation.metrics import area_under_curve

COLUMNS = ClickColumns(label="clicked", ids=("user", "item"), numbers=("price",), time="ts")
RUN = "{dimension: 4, shape: {bottom: [8], top: [8]}, batch: 64, mlps: {optimizer: adamw, learning_rate: 0.02}}"


def write_log(path: Path, count: int, seed: int) -> None:
    """Clicks depend on the price; users and items are texts."""
    random = np.random.default_rng(seed)
    price = random.uniform(0, 10, count)
    clicked = random.random(count) < 1 / (1 + np.exp(price - 5))
    lines = ["clicked,user,item,price,ts"]
    for k in range(count):
        item = "" if k % 11 == 0 else f"item {random.integers(8)}"
        lines.append(f"{int(clicked[k])},u{random.integers(20)},{item},{price[k]:.2f},{1_700_000_000 + k}")
    path.write_text("\n".join(lines) + "\n")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The log and a later one, the converted folder, a trained run."""
    folder = tmp_path_factory.mktemp("clicks")
    write_log(folder / "log.csv", 800, seed=0)
    write_log(folder / "later.csv", 200, seed=1)
    convert_clicks(folder / "log.csv", folder / "rows", COLUMNS)
    (folder / "run.yaml").write_text(RUN)
    invoked("fit", folder / "rows", "--config", folder / "run.yaml", "-o", folder / "run", "--epochs", 6)
    return folder


def invoked(*arguments: object) -> str:
    result = CliRunner().invoke(app, [*map(str, arguments)], env={"COLUMNS": "140"}, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_a_run_reads_the_logs_own_columns_and_scores_its_raw_rows(place: Path, tmp_path: Path) -> None:
    told = tmp_path / "told.json"
    invoked("evaluate", place / "run", "--json", told)
    figures = json.loads(told.read_text())["figures"]
    assert figures["test"]["DLRM"]["auc"] > 0.75 and figures["validation"]["DLRM"]["normalised_entropy"] < 1
    invoked("predict", place / "run", place / "later.csv", "-o", tmp_path / "scores.npy", "--json", told)
    scores, label = np.load(tmp_path / "scores.npy"), read_clicks(place / "later.csv", COLUMNS)[0].label
    assert len(scores) == 200 and area_under_curve(label, scores) > 0.75
    assert json.loads(told.read_text())["figures"]["DLRM"]["auc"] == pytest.approx(area_under_curve(label, scores))
    # The converted folder's rows, turned back into ids, score as the text's do.
    convert_clicks(place / "later.csv", tmp_path / "later", COLUMNS, threshold=1)
    invoked("predict", place / "run", tmp_path / "later", "-o", tmp_path / "again.npy")
    np.testing.assert_allclose(np.sort(np.load(tmp_path / "again.npy")), np.sort(scores), atol=0.05)


@pytest.mark.slow
def test_an_exported_folder_scores_raw_rows_as_the_run_does(place: Path, compiled_once: None, tmp_path: Path) -> None:
    invoked("export", place / "run", "--output", tmp_path / "scorer")
    for name in ("run", "scorer"):
        of = place / "run" if name == "run" else tmp_path / "scorer"
        invoked("predict", of, place / "later.csv", "-o", tmp_path / f"{name}.npy")
    np.testing.assert_allclose(np.load(tmp_path / "run.npy"), np.load(tmp_path / "scorer.npy"), atol=1e-6)


def test_the_comparison_reads_the_same_columns(place: Path, tmp_path: Path) -> None:
    told = tmp_path / "told.json"
    words = ("-m", "logistic", "--seeds", 1, "--processes", 1, "--output", tmp_path / "kept", "--json", told)
    invoked("compare", place / "rows", *words)
    [found] = json.loads(told.read_text())["figures"]["summary"]
    assert found["auc"] > 0.75
    names = LogColumns.of(place / "rows")
    assert names == LogColumns(("price",), ("user", "item"))
    rows = read_clicks(place / "log.csv", COLUMNS)[0]
    learnt = Preparation.learn(rows, CompareSettings(), 12, names=names)
    assert learnt.specification.dense_names[:2] == ("price", "price_missing")
    assert [one.name for one in learnt.specification.item] == ["user", "item", "price_bucket"]
    with pytest.raises(RankerError, match="there is no id column 'C1'; expected some of user, item, price_bucket"):
        Preparation.learn(rows, CompareSettings.model_validate({"dimensions": {"C1": 4}}), 12, names=names)


def test_a_test_file_of_other_columns_is_refused(place: Path, tmp_path: Path) -> None:
    other = ClickColumns(label="clicked", ids=("user",), numbers=("price",))
    convert_clicks(place / "later.csv", tmp_path / "other", other)
    words = ["compare", str(place / "rows"), "--test", str(tmp_path / "other"), "-m", "logistic", "--seeds", "1"]
    with pytest.raises(RankerError, match="other has other columns than"):
        CliRunner().invoke(app, [*words, "-o", str(tmp_path / "kept"), "--processes", "1"], catch_exceptions=False)
