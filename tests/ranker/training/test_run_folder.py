"""A run's folder: it holds one run, of one data set and one set of settings, and is one process's at a time."""

import fcntl
import json
import os
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ranker.cli import app
from ranker.errors import RankerError
from ranker.training import run_folder
from ranker.training.checkpoints import KEPT
from ranker.training.figure5 import figure5
from ranker.training.fit import FitJob
from ranker.training.launch import launch
from ranker.training.plan import ShardingConstraints
from ranker.training.settings import TrainingSettings
from tests.support.criteo_folder import make_criteo_folder
from tests.support.ranker_runs import fit_all

SETTINGS = {"dimension": 4, "shape": {"bottom": [4], "top": [4]}, "batch": 256, "log_every": 1}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_criteo_folder(tmp_path_factory.mktemp("criteo"))


@pytest.fixture(scope="module")
def trained(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("runs") / "run"
    fitted(folder, run)
    return run


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "run"))


def fitted(
    folder: Path, run: Path, resume: bool = False, sharding: dict[str, object] | None = None, **changed: object
) -> None:
    settings = TrainingSettings.model_validate({**SETTINGS, **changed})
    job = FitJob(folder, run, settings, ShardingConstraints.model_validate(sharding or {}), resume, shown=False)
    launch(1, "cpu", 1, fit_all, [job])


def test_settings_of_which_no_network_can_be_made_leave_no_run_behind(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(RankerError, match="network dcn has no first-order columns"):
        fitted(folder, tmp_path / "run", network="dcn", shape={"first_order": 4})
    with pytest.raises(RankerError, match="there is no table 'C99'"):
        fitted(folder, tmp_path / "run", sharding={"tables": {"C99": "row_wise"}})
    assert not [*tmp_path.iterdir()]


def test_a_run_that_was_killed_as_it_began_begins_again(folder: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    (run / "vocabulary").mkdir(parents=True)
    (run / "vocabulary" / "C1.ids.npy").write_bytes(b"half")
    (run / ".settings.yaml.123").write_text("half")
    fitted(folder, run)
    original = folder / "vocabulary" / "C1.ids.npy"
    assert (run / "vocabulary" / "C1.ids.npy").read_bytes() == original.read_bytes()
    assert not (run / ".settings.yaml.123").exists()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "precious").write_text("mine")
    with pytest.raises(RankerError, match="other holds other files"):
        fitted(folder, tmp_path / "other")
    assert (tmp_path / "other" / "precious").read_text() == "mine"


def test_two_processes_do_not_train_one_run(folder: Path, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_folder, "_PATIENCE", 0.2)
    lock = os.open(run, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    before = (run / "metrics.jsonl").read_bytes()
    with pytest.raises(RankerError, match="another process trains there"):
        fitted(folder, run, resume=True, epochs=2)
    assert (run / "metrics.jsonl").read_bytes() == before
    os.close(lock)
    fitted(folder, run, resume=True, epochs=2)


@pytest.mark.parametrize(
    "name, text, expected",
    [
        ("metrics.jsonl", '{"step": 1}\n{"step"\n{"step": 2}\n', r"metrics\.jsonl, line 2: expected a measurement"),
        ("metrics.jsonl", '[1]\n{"step": 2}\n', r"metrics\.jsonl, line 1: expected a measurement"),
        ("data.json", "{", r"data\.json: expected a run's JSON"),
        ("data.json", "[]", r"data\.json: expected a run's JSON"),
        ("data.json", "{}", "holds other rows than the run"),
    ],
)
def test_a_damaged_file_of_a_run_is_named_and_stays(
    folder: Path, run: Path, name: str, text: str, expected: str
) -> None:
    (run / name).write_text(text)
    with pytest.raises(RankerError, match=expected):
        fitted(folder, run, resume=True)
    assert (run / name).read_text() == text


def test_a_checkpoint_of_another_network_is_one_sentence(folder: Path, run: Path, tmp_path: Path) -> None:
    fitted(folder, tmp_path / "other", shape={"bottom": [8], "top": [4]})
    shutil.rmtree(run / "checkpoints")
    shutil.copytree(tmp_path / "other" / "checkpoints", run / "checkpoints")
    with pytest.raises(RankerError, match="checkpoint of this network and optimizers, found Size mismatch") as told:
        fitted(folder, run, resume=True)
    assert "Traceback" not in str(told.value)


def test_a_checkpoints_index_that_names_a_file_elsewhere_is_refused(folder: Path, run: Path) -> None:
    import xxhash

    (checkpoint,) = (run / "checkpoints").glob("step-*")
    index, seal = checkpoint / "index.json", checkpoint / "checkpoint.json"
    tensors = json.loads(index.read_text())
    next(iter(tensors.values()))["chunks"][0]["file"] = "../../../secret"
    index.write_text(json.dumps(tensors))
    sealed = json.loads(seal.read_text())
    sealed["files"]["index.json"] = [index.stat().st_size, xxhash.xxh3_128(index.read_bytes()).hexdigest()]
    seal.write_text(json.dumps(sealed))
    with pytest.raises(RankerError, match=r"index\.json: expected a checkpoint's index, found a file outside"):
        fitted(folder, run, resume=True)


def test_a_finished_curve_is_not_shown_for_another_rate_or_other_rows(folder: Path, tmp_path: Path) -> None:
    settings = TrainingSettings.model_validate(SETTINGS)

    def curve(data: Path, rate: float) -> float:
        found = figure5(data, tmp_path / "out", settings, {"dlrm": {"sgd": rate}}, 2, 1, "cpu", 1)
        return float(found[0].last["log_loss"])

    first = curve(folder, 0.1)
    assert curve(folder, 0.1) == first
    with pytest.raises(RankerError, match=r"dlrm-sgd/settings\.yaml: tables is .*, now .* expected the same"):
        curve(folder, 0.5)
    other = shutil.copytree(folder, tmp_path / "other")
    (other / "manifest.json").write_text((folder / "manifest.json").read_text() + " ")
    with pytest.raises(RankerError, match="other holds other rows than the run"):
        curve(Path(other), 0.1)


def test_checkpoints_are_written_by_time_without_being_asked_for(folder: Path, tmp_path: Path) -> None:
    """A log line finds the last checkpoint old; an epoch of three steps would have one alone."""
    seen = []
    for minutes in (1e-9, 0.0):
        run = tmp_path / f"run{minutes}"
        fitted(folder, run, checkpoint_minutes=minutes)
        seen.append(len([*(run / "checkpoints").glob("step-*")]))
    assert seen == [KEPT, 1]
    assert TrainingSettings().checkpoint_minutes == 10


def test_resume_goes_on_with_the_settings_and_processes_the_run_began_with(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = json.loads((run / "plan.json").read_text())
    (run / "plan.json").write_text(json.dumps({**plan, "processes": 3}))
    asked = []

    def launched(processes: int, device: str, threads: int | None, work: object, job: FitJob) -> dict[str, object]:
        asked.append((processes, job.resume, job.settings.dimension, job.data))
        raise RankerError("enough")

    monkeypatch.setattr("ranker.training.launch.launch", launched)
    for more in ([], ["--processes", "2"]):
        with pytest.raises(RankerError, match="enough"):
            CliRunner().invoke(app, ["fit", "--resume", "-o", str(run), *more], catch_exceptions=False)
    rows = Path(json.loads((run / "data.json").read_text())["folder"])
    assert asked == [(3, True, 4, rows), (2, True, 4, rows)]


def test_a_network_that_is_worse_than_a_constant_is_said_to_be(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "wild.yaml").write_text(
        "{dimension: 4, shape: {bottom: [4], top: [4]}, batch: 64, mlps: {optimizer: adamw, learning_rate: 0.5}}"
    )
    (tmp_path / "mild.yaml").write_text(
        "{dimension: 4, shape: {bottom: [4], top: [4]}, batch: 64, mlps: {optimizer: adamw, learning_rate: 0.01}}"
    )
    for name, worse in (("wild", True), ("mild", False)):
        words = ["fit", str(folder), "--config", str(tmp_path / f"{name}.yaml"), "-o", str(tmp_path / name)]
        result = CliRunner().invoke(app, [*words, "--threads", "1", "--epochs", "5"], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        said = " ".join((result.output + result.stderr).split())
        assert ("the network is worse than a constant: its log loss on the" in said) == worse
