"""A killed run, resumed, is the run that was never killed; damaged checkpoints are passed over with a sentence."""

import json
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
import yaml

from ranker.errors import RankerError
from ranker.training.checkpoints import damage, newest_whole
from ranker.training.fit import FitJob
from ranker.training.launch import launch
from ranker.training.plan import ShardingConstraints
from ranker.training.run_folder import read_measurements
from ranker.training.settings import TrainingSettings
from tests.support.criteo_folder import make_criteo_folder
from tests.support.ranker_runs import fit_all, weights_of

ROOT = Path(__file__).parents[3]
SETTINGS = {
    "dimension": 8,
    "shape": {"bottom": [16], "top": [16], "dropout": 0.2},
    "tables": {"optimizer": "rowwise_adagrad", "learning_rate": 0.05, "epsilon": 1e-3},
    "mlps": {"optimizer": "adamw", "learning_rate": 0.01},
    "batch": 64,
    "epochs": 12,
    "log_every": 7,
    "evaluate_every": 16,
    "checkpoint_every": 10,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_criteo_folder(tmp_path_factory.mktemp("criteo"))


def job(folder: Path, run: Path, resume: bool = False, **changed: object) -> FitJob:
    settings = TrainingSettings.model_validate({**SETTINGS, **changed})
    return FitJob(folder, run, settings, ShardingConstraints(), resume, shown=False)


def start(folder: Path, run: Path, config: Path, processes: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "tandem", "ranker", "fit", str(folder), "--output", str(run)]
    options = ["--config", str(config), "--processes", str(processes), "--threads", "1"]
    return subprocess.Popen([*command, *options], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def kill_after_checkpoint(process: subprocess.Popen[bytes], run: Path) -> None:
    """kill -9, a little after the first checkpoint; whatever it started must go with it."""
    ends = time.monotonic() + 60
    while not list((run / "checkpoints").glob("step-*")):
        assert process.poll() is None and time.monotonic() < ends
        time.sleep(0.005)
    time.sleep(0.1)
    children = psutil.Process(process.pid).children(recursive=True)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    _, alive = psutil.wait_procs(children, timeout=20)
    assert alive == []


@pytest.mark.slow
def test_a_run_killed_and_resumed_equals_an_uninterrupted_one_bit_for_bit(folder: Path, tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump({**SETTINGS, "epochs": 30, "checkpoint_every": 40}))
    killed = start(folder, tmp_path / "killed", config, 1)
    kill_after_checkpoint(killed, tmp_path / "killed")
    first = newest_whole(tmp_path / "killed" / "checkpoints")
    assert first is not None and int(first.name.removeprefix("step-")) < 16 * 30
    jobs = [
        job(folder, tmp_path / "whole", epochs=30, checkpoint_every=40),
        job(folder, tmp_path / "killed", True, epochs=30, checkpoint_every=40),
    ]
    launch(1, "cpu", 1, fit_all, jobs)
    expected, found = weights_of(tmp_path / "whole"), weights_of(tmp_path / "killed")
    assert expected.keys() == found.keys()
    for name, one in expected.items():
        np.testing.assert_array_equal(found[name], one, err_msg=name)
    assert lines_of(tmp_path / "killed") == lines_of(tmp_path / "whole")


def lines_of(run: Path) -> list[dict[str, object]]:
    lines = read_measurements(run / "metrics.jsonl")
    return [{name: value for name, value in line.items() if name != "samples_per_second"} for line in lines]


@pytest.mark.slow
def test_a_run_goes_on_with_fewer_processes_or_with_more(folder: Path, tmp_path: Path) -> None:
    """Without drop-out, whose draws are each process's own: 2 to 1 after kill -9, 1 to 2 after an epoch."""
    mlps = {"optimizer": "adagrad", "learning_rate": 0.02, "epsilon": 1e-3}
    shape = {"shape": {"bottom": [16], "top": [16]}, "mlps": mlps, "checkpoint_every": 40}
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump({**SETTINGS, **shape}))
    killed = start(folder, tmp_path / "fewer", config, 2)
    kill_after_checkpoint(killed, tmp_path / "fewer")
    launch(
        1,
        "cpu",
        1,
        fit_all,
        [
            job(folder, tmp_path / "whole", **shape),
            job(folder, tmp_path / "more", **shape, epochs=5),
            job(folder, tmp_path / "fewer", True, **shape),
        ],
    )
    launch(2, "cpu", 1, fit_all, [job(folder, tmp_path / "more", True, **shape)])
    expected = weights_of(tmp_path / "whole")
    for run in ("fewer", "more"):
        found = weights_of(tmp_path / run)
        assert found.keys() == expected.keys()
        for name, one in expected.items():
            np.testing.assert_allclose(found[name], one, atol=1e-4, rtol=1e-4, err_msg=f"{run}: {name}")


def test_a_damaged_checkpoint_is_passed_over_and_none_that_is_whole_is_an_error(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = tmp_path / "run"
    launch(1, "cpu", 1, fit_all, [job(folder, run, epochs=2)])
    before = weights_of(run)
    _, newest = sorted((run / "checkpoints").glob("step-*"))
    data = next(newest.glob("*.distcp"))
    content = bytearray(data.read_bytes())
    content[len(content) // 2] ^= 1
    data.write_bytes(content)
    assert "differs from what was written" in str(damage(newest))
    with caplog.at_level(logging.WARNING):
        launch(1, "cpu", 1, fit_all, [job(folder, run, True, epochs=2)])
    assert "going back to the checkpoint before it" in caplog.text
    after = weights_of(run)
    for name, one in before.items():
        np.testing.assert_array_equal(after[name], one)
    for one in (run / "checkpoints").glob("step-*"):
        next(one.glob("*.distcp")).unlink()
    with pytest.raises(RankerError, match="every checkpoint is damaged"):
        launch(1, "cpu", 1, fit_all, [job(folder, run, True, epochs=2)])


def test_a_run_is_resumed_only_with_its_own_settings_and_rows(folder: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    launch(1, "cpu", 1, fit_all, [job(folder, run, epochs=1)])
    assert json.loads((run / "summary.json").read_text())["steps"] == 16
    for wanted, said in (
        (job(folder, run, epochs=1), "holds a run already"),
        (job(folder, run, True, epochs=1, batch=32), "batch is 64, now 32"),
        (job(folder, tmp_path / "nothing", True), "expected a run to resume"),
        (job(make_criteo_folder(tmp_path / "other", seed=1), run, True, epochs=1), "other rows"),
    ):
        with pytest.raises(RankerError, match=said):
            launch(1, "cpu", 1, fit_all, [wanted])
    assert sorted(one.name for one in run.iterdir()) == [
        "checkpoints",
        "data.json",
        "metrics.jsonl",
        "plan.json",
        "settings.yaml",
        "sharding.yaml",
        "specification.yaml",
        "summary.json",
        "tensorboard",
        "vocabulary",
    ]
    assert list((run / "tensorboard").iterdir())
