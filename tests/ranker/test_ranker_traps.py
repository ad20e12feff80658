"""Traps that rankers of this kind fall into, and that have no better place: docs/ranker.md lists them all."""

import subprocess
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import pytest

from data.criteo.made_up import write_made_up
from ranker.comparison.jobs import Division
from ranker.comparison.models import build_ranker
from ranker.comparison.preparation import Preparation
from ranker.comparison.runs import compare
from ranker.comparison.settings import PreparationSettings
from ranker.errors import RankerError
from ranker.training.fit import FitJob
from ranker.training.launch import launch
from ranker.training.optimizers import fused_parameters
from ranker.training.plan import ShardingConstraints
from ranker.training.settings import TableSettings, TrainingSettings, read_training
from tests.support.criteo_folder import make_criteo_folder
from tests.support.criteo_rows import made_up_rows
from tests.support.processes import ROOT, environment
from tests.support.ranker_runs import fit_all


def test_the_libraries_that_must_fit_each_other_are_the_pinned_ones() -> None:
    """torch, torchrec and fbgemm of other versions fail at import: "Could not load this library"."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    pinned = dict(one.split("==") for one in project["dependencies"] if "==" in one)
    assert version("torch").split("+")[0] == pinned["torch"]
    assert version("torchrec").split("+")[0] == "1.8.0"
    of_fbgemm = dict(one.split("==") for kind in ("cpu", "cuda") for one in project["optional-dependencies"][kind])
    installed = {}
    for name in of_fbgemm:
        try:
            installed[name] = version(name).split("+")[0]
        except PackageNotFoundError:
            continue
    assert installed and all(found == of_fbgemm[name] for name, found in installed.items())


def test_help_loads_no_torch_and_training_none_of_torchrecs_own_models() -> None:
    """torchrec.models.dlrm takes seconds to import, and brings test utilities along."""
    code = "import tandem.cli, sys; assert 'torch' not in sys.modules; import ranker.training.fit; print(*sys.modules)"
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment(), capture_output=True, text=True, check=False
    )
    assert found.returncode == 0, found.stderr
    assert "torchrec.modules.crossnet" in found.stdout and "torchrec.models.dlrm" not in found.stdout


@pytest.mark.parametrize("text", ["tables: {momentum: .9}", "tables: {optimizer: lamb}", "tables: {optimizer: adam}"])
def test_what_the_fused_optimizers_would_ignore_or_cannot_do_is_no_setting(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(RankerError, match=r"config\.yaml: tables\."):
        read_training(tmp_path / "config.yaml")


def test_torchrec_is_given_parameters_of_its_own_to_change() -> None:
    settings = TableSettings(optimizer="adagrad", learning_rate=0.25)
    fused_parameters(settings).clear()
    assert fused_parameters(settings)["learning_rate"] == 0.25


@pytest.mark.parametrize("column", ["single", "negative"])
def test_an_id_beyond_its_table_is_an_error_before_the_fused_kernel_takes_it_for_row_0(column: str) -> None:
    rows = made_up_rows(300)
    learnt = Preparation.learn(rows, PreparationSettings(target_statistics=False), 12)
    examples = learnt.training(rows)
    examples.single[7, 3] = learnt.rows["C4"] if column == "single" else -1
    with pytest.raises(RankerError, match=r"C4: id -?\d+ is no row of table C4; expected 0 to"):
        build_ranker("dlrm", learnt.specification, learnt.rows).fit(examples, learnt.transform(rows), 0)


def test_the_labels_of_test_rows_change_no_prediction(tmp_path: Path) -> None:
    """Neither the vocabularies, nor the statistics, nor the moment to stop, nor the calibration look at them."""
    write_made_up(tmp_path / "rows.tsv", 400, seed=2)
    lines = (tmp_path / "rows.tsv").read_text().splitlines()
    flipped = [*lines[:360], *("10"[int(line[0])] + line[1:] for line in lines[360:])]
    (tmp_path / "flipped.tsv").write_text("\n".join(flipped) + "\n")
    models = ["dlrm", "trees", "logistic"]
    one, other = (
        compare(tmp_path / name, None, models, [0], Division(), tmp_path / "out", 1)
        for name in ("rows.tsv", "flipped.tsv")
    )
    for found, again in zip(one, other, strict=True):
        np.testing.assert_array_equal(found["probability"], again["probability"])
        assert found["auc"] == pytest.approx(1 - again["auc"])


@pytest.mark.slow
def test_no_network_is_stuck_at_an_auc_of_one_half(tmp_path: Path) -> None:
    folder = make_criteo_folder(tmp_path)
    jobs = []
    for network, optimizer in (("dlrm", "sgd"), ("dlrm", "rowwise_adagrad"), ("dcn", "adagrad"), ("dcnv2", "adagrad")):
        rate = 0.5 if optimizer == "sgd" else 0.02
        settings = TrainingSettings.model_validate(
            {
                "network": network,
                "dimension": 8,
                "shape": {"bottom": [32], "top": [32]},
                "tables": {"optimizer": optimizer, "learning_rate": rate},
                "mlps": {"optimizer": "sgd" if optimizer == "sgd" else "adagrad", "learning_rate": rate / 2},
                "batch": 32,
                "epochs": 2,
            }
        )
        run = tmp_path / f"{network}-{optimizer}"
        jobs.append(FitJob(folder, run, settings, ShardingConstraints(), shown=False))
    for job, figures in zip(jobs, launch(1, "cpu", 1, fit_all, jobs), strict=True):
        assert figures["validation"]["auc"] > 0.65, job.run.name
        assert [len(part) for part in figures["validation"]["calibration"]] == [3] * 10
        for name in ("C3.ids.npy", "C3.counts.npy"):  # a checkpoint is of no use without them
            assert (job.run / "vocabulary" / name).read_bytes() == (folder / "vocabulary" / name).read_bytes()
