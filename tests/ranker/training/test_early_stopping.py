"""Early stopping: the best weights by validation are kept, through checkpoints and resumption too."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from ranker.errors import RankerError
from ranker.evaluation.calibration import Platt
from ranker.training.checkpoints import newest_whole
from ranker.training.fit import FitJob
from ranker.training.from_run import ranker_of_run
from ranker.training.launch import launch
from ranker.training.plan import ShardingConstraints
from ranker.training.run_folder import read_measurements
from ranker.training.settings import TrainingSettings
from tests.support.criteo_folder import make_criteo_folder
from tests.support.ranker_runs import fit_all

SETTINGS = {
    "dimension": 8,
    "shape": {"bottom": [16], "top": [16], "dropout": 0.2},
    "tables": {"optimizer": "rowwise_adagrad", "learning_rate": 0.2},
    "mlps": {"optimizer": "adamw", "learning_rate": 0.02},
    "batch": 64,
    "epochs": 8,
    "checks": 3,
    "patience": 6,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_criteo_folder(tmp_path_factory.mktemp("criteo"))


def fitted(folder: Path, run: Path, resume: bool = False, **changed: object) -> dict[str, object]:
    settings = TrainingSettings.model_validate({**SETTINGS, **changed})
    [found] = launch(1, "cpu", 1, fit_all, [FitJob(folder, run, settings, ShardingConstraints(), resume, shown=False)])
    return found


def test_training_stops_and_ends_with_the_best_weights(folder: Path, tmp_path: Path) -> None:
    found = fitted(folder, tmp_path / "run")
    lines = [one for one in read_measurements(tmp_path / "run" / "metrics.jsonl") if one["kind"] == "validation"]
    best = min(lines, key=lambda one: one["log_loss"])
    assert found["best_step"] == best["step"] < found["steps"] < 8 * 16
    assert found["validation"]["log_loss"] == pytest.approx(best["log_loss"])
    assert [one["step"] for one in lines[:4]] == [0, 5, 11, 16]
    assert len(lines) - 1 - lines.index(best) == 6
    assert ranker_of_run(tmp_path / "run").steps == best["step"]


def test_a_run_that_is_gone_on_with_remembers_its_best_weights(folder: Path, tmp_path: Path) -> None:
    whole = fitted(folder, tmp_path / "whole")
    fitted(folder, tmp_path / "parts", epochs=2)
    again = fitted(folder, tmp_path / "parts", resume=True)
    assert (again["best_step"], again["steps"]) == (whole["best_step"], whole["steps"])
    expected = ranker_of_run(tmp_path / "whole").model.state_dict()
    for name, one in ranker_of_run(tmp_path / "parts").model.state_dict().items():
        np.testing.assert_array_equal(one, expected[name], err_msg=name)


def test_the_weights_of_the_beginning_are_kept_where_training_makes_them_worse(folder: Path, tmp_path: Path) -> None:
    worse = {"mlps": {"optimizer": "adamw", "learning_rate": 3.0}, "epochs": 1, "patience": 2}
    found = fitted(folder, tmp_path / "run", **worse)
    assert ranker_of_run(tmp_path / "run").steps == 0
    for one in (tmp_path / "run" / "checkpoints").glob("step-*[1-9]*"):
        shutil.rmtree(one)  # as if killed after the first one, which is gone on with to the same end
    again = fitted(folder, tmp_path / "run", resume=True, **worse)
    assert (again["best_step"], again["steps"]) == (0, found["steps"])


def test_the_calibration_of_other_weights_is_not_taken(folder: Path, tmp_path: Path) -> None:
    """A run that was done and is gone on with, and killed, has the summary of before."""
    found = fitted(folder, tmp_path / "run", epochs=1)
    assert ranker_of_run(tmp_path / "run", calibrated=True).platt == Platt(**found["platt"])  # type: ignore[arg-type]
    (tmp_path / "run" / "summary.json").write_text(json.dumps({**found, "best_step": 1}))
    assert ranker_of_run(tmp_path / "run", calibrated=True).platt == Platt()


def test_each_kept_checkpoint_has_its_best_one_beside_it(folder: Path, tmp_path: Path) -> None:
    fitted(folder, tmp_path / "run", epochs=2)
    kept = {int(one.name[5:]): one for one in (tmp_path / "run" / "checkpoints").glob("step-*")}
    for one in sorted(kept)[-2:]:
        notes = json.loads((kept[one] / "checkpoint.json").read_text())["notes"]
        assert notes["best"]["step"] in kept


@pytest.mark.slow
def test_two_processes_stop_where_one_does(folder: Path, tmp_path: Path) -> None:
    settings = TrainingSettings.model_validate(
        {**SETTINGS, "tables": {"learning_rate": 0.5}, "mlps": {"learning_rate": 0.1}, "epochs": 3}
    )
    job = FitJob(folder, tmp_path / "two", settings, ShardingConstraints(), shown=False)
    [one] = launch(
        1, "cpu", 1, fit_all, [FitJob(folder, tmp_path / "one", settings, ShardingConstraints(), shown=False)]
    )
    [two] = launch(2, "cpu", 1, fit_all, [job])
    assert two["best_step"] == one["best_step"]
    assert two["validation"]["log_loss"] == pytest.approx(one["validation"]["log_loss"], abs=1e-5)


def test_a_network_that_diverges_replaces_no_checkpoint(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(RankerError, match="training diverged before step"):
        fitted(folder, tmp_path / "bad", epochs=1, patience=None, mlps={"learning_rate": 1e30}, log_every=1000)
    assert newest_whole(tmp_path / "bad" / "checkpoints") is None
