"""A run of `tandem ranker fit` exported into a folder of its own scores as the network that was trained."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from data.criteo.rows import CriteoRows
from ranker.cli import app
from ranker.errors import RankerError
from ranker.evaluation.metrics import area_under_curve
from ranker.serving.standalone import RowScorer, export_run
from ranker.training.fit import FitJob
from ranker.training.launch import launch
from ranker.training.plan import ShardingConstraints
from ranker.training.settings import TrainingSettings
from tests.support.criteo_folder import make_criteo_folder
from tests.support.ranker_runs import fit_all

SETTINGS = {
    "dimension": 8,
    "shape": {"bottom": [16], "top": [16]},
    "tables": {"optimizer": "rowwise_adagrad", "learning_rate": 0.05},
    "mlps": {"optimizer": "adagrad", "learning_rate": 0.02},
    "features": {"integers": {"I1": "both", "I2": "raw"}},
    "batch": 128,
    "epochs": 2,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_criteo_folder(tmp_path_factory.mktemp("criteo"))


def fitted(folder: Path, run: Path, **changed: object) -> dict[str, object]:
    settings = TrainingSettings.model_validate({**SETTINGS, **changed})
    [figures] = launch(1, "cpu", 1, fit_all, [FitJob(folder, run, settings, ShardingConstraints(), shown=False)])
    return figures["test"]  # type: ignore[no-any-return]


@pytest.mark.slow
@pytest.mark.parametrize("network", ["dlrm", "dcn"])
def test_the_folder_scores_the_rows_of_a_text_as_the_run_measured_them(
    network: str, folder: Path, compiled_once: None, tmp_path: Path
) -> None:
    measured = fitted(folder, tmp_path / "run", network=network)
    assert export_run(tmp_path / "run", tmp_path / "out") == (network == "dlrm")
    scorer = RowScorer.load(tmp_path / "out")
    assert (scorer.graph is not None) == (network == "dlrm")
    rows = CriteoRows.read(folder.parent / "rows.tsv")[1200:]
    found = scorer.score(rows)
    assert len(found) == 100
    assert area_under_curve(rows.label, found) == pytest.approx(measured["auc"], abs=1e-6)
    one_by_one = np.concatenate([scorer.score(rows[k : k + 1]) for k in range(100)])
    np.testing.assert_allclose(one_by_one, found, atol=1e-6)


def test_predict_measures_rows_and_writes_their_probabilities(folder: Path, tmp_path: Path) -> None:
    fitted(folder, tmp_path / "run", network="dcnv2", patience=2, checks=3)
    out, text = tmp_path / "out", folder.parent / "rows.tsv"
    for arguments in (
        ["export", str(tmp_path / "run"), "--output", str(out)],
        ["predict", str(out), str(text), "-o", str(tmp_path / "scores.npy")],
    ):
        result = CliRunner().invoke(app, arguments, env={"COLUMNS": "140"}, catch_exceptions=False)
        assert result.exit_code == 0
    assert "1,300 rows" in result.output
    assert np.load(tmp_path / "scores.npy").shape == (1300,)


def invoked(*arguments: object) -> str:
    result = CliRunner().invoke(app, [*map(str, arguments)], env={"COLUMNS": "140"}, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_a_run_is_evaluated_and_predicts_without_an_export(folder: Path, tmp_path: Path) -> None:
    measured = fitted(folder, tmp_path / "run", network="dcnv2", patience=2, checks=3)
    told = tmp_path / "told.json"
    shown = invoked("evaluate", tmp_path / "run", "--json", told)
    found = json.loads(told.read_text())["figures"]
    assert found["test"]["DLRM"]["auc"] == pytest.approx(measured["auc"], abs=1e-6)
    assert found["test"]["DLRM"]["log_loss"] == pytest.approx(measured["log_loss"], abs=1e-6)
    assert "constant" in shown and found["test"]["constant"]["normalised_entropy"] == pytest.approx(1)
    text = folder.parent / "rows.tsv"
    invoked("export", tmp_path / "run", "--output", tmp_path / "out")
    for place in ("run", "out"):  # calibrated alike
        invoked("predict", tmp_path / place, text, "-o", tmp_path / f"{place}.npy")
    np.testing.assert_allclose(np.load(tmp_path / "run.npy"), np.load(tmp_path / "out.npy"), atol=1e-6)
    invoked("evaluate", tmp_path / "run", text, "--json", told)
    on_text = json.loads(told.read_text())["figures"]["rows"]["DLRM"]
    label = CriteoRows.read(text).label
    assert on_text["auc"] == pytest.approx(area_under_curve(label, np.load(tmp_path / "run.npy")), abs=1e-6)


def test_a_run_whose_rows_are_gone_asks_for_others(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "rows")
    fitted(tmp_path / "rows", tmp_path / "run", network="dcnv2")
    shutil.rmtree(tmp_path / "rows")
    with pytest.raises(RankerError, match="the rows it was trained on are gone, or others now"):
        CliRunner().invoke(app, ["evaluate", str(tmp_path / "run")], catch_exceptions=False)


def test_what_is_no_run_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(RankerError, match="expected a run of `tandem ranker fit`"):
        export_run(tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    with pytest.raises(RankerError, match="expected a run of `tandem ranker fit` to write there"):
        CliRunner().invoke(app, ["export", "--output", str(tmp_path / "out")], catch_exceptions=False)
