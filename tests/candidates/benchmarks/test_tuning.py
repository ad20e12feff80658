"""Baselines' settings chosen on validation users: the best of the grid, and what the user sets stays."""

import json

import numpy as np
import pytest
from scipy.sparse import csr_matrix
from typer.testing import CliRunner

from candidates.benchmarks import registry
from candidates.benchmarks.benchmark import run_model
from candidates.benchmarks.datasets import DataSource, load_split
from candidates.benchmarks.registry import MODELS
from candidates.benchmarks.runner import IN_THIS_PROCESS
from candidates.benchmarks.tasks import ModelTask
from candidates.benchmarks.tuning import between, tune
from candidates.models.model import UserItemModel
from candidates.protocols.metrics import VALIDATION, evaluate
from candidates.protocols.splits import HeldOutUsers
from pipeline.candidates_cli import app


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """Finished rows are kept below the folder of the call."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def pairs(tmp_path):
    """200 users of two tastes among 40 items, a third of the likes noise."""
    rng = np.random.default_rng(0)
    taste = rng.integers(0, 2, 200)[:, None] == (np.arange(40) % 2)[None]
    liked = rng.random((200, 40)) < np.where(taste, 0.3, 0.1)
    path = tmp_path / "pairs.csv"
    path.write_text("user,item\n" + "\n".join(f"{user},{item}" for user, item in np.argwhere(liked)) + "\n")
    return path


def grid_of(name: str, grid: dict, monkeypatch) -> None:
    entry = MODELS[name]
    changed = registry.Entry(entry.module, entry.model, entry.preset, grid)
    monkeypatch.setitem(registry.MODELS, name, changed)


def validated(pairs, name: str, settings: dict) -> float:
    """NDCG@100 of the model, fitted without what validation hides, on all validation users."""
    split = load_split("pairs", pairs)
    model = registry.build_model(name, settings).fit(split.train_for_validation, show_progress=False)
    return evaluate(model.scores, split.validation, VALIDATION).mean("ndcg@100")


def test_the_best_of_a_grid_is_what_does_best_on_validation_users(pairs, tmp_path, monkeypatch):
    grid_of("ials", {"l2": (0.1, 3.0, 300.0), "alpha": (1.0, 5.0, 30.0)}, monkeypatch)
    given = {"factors": 4, "threads": 1}
    task = ModelTask(DataSource.of("pairs", pairs), "iALS", "ials", tuple(given.items()))
    found = tune({"ials": task}, tmp_path / "out", IN_THIS_PROCESS)["ials"]
    first = {l2: validated(pairs, "ials", {**given, "l2": l2}) for l2 in (0.1, 3.0, 50.0, 300.0)}
    l2 = max(first, key=first.__getitem__)
    second = {alpha: validated(pairs, "ials", {**given, "l2": l2, "alpha": alpha}) for alpha in (1.0, 5.0, 30.0)}
    alpha = max(second, key=second.__getitem__)
    third = {l2: second[alpha]}
    for value in between([0.1, 3.0, 50.0, 300.0], l2):
        third[value] = validated(pairs, "ials", {**given, "l2": value, "alpha": alpha})
    assert found.chosen == {"l2": max(third, key=third.__getitem__), "alpha": alpha}
    assert found.settings == {**given, **found.chosen}
    assert [trial.quality for trial in found.trials[:4]] == pytest.approx(list(first.values()), abs=1e-5)
    assert [trial.chosen["alpha"] for trial in found.trials[4:6]] == [1.0, 30.0]  # alpha 5 is known already


def test_between_are_the_neighbours_and_the_geometric_means_with_them():
    assert between([1.0, 4.0, 100.0], 4.0) == [1.0, 2.0, 20.0, 100.0]
    assert between([1.0, 4.0], 1.0) == [2.0, 4.0]
    assert between([7.0], 7.0) == []


def test_trials_are_kept_and_not_fitted_again(pairs, tmp_path, monkeypatch):
    task = ModelTask(DataSource.of("pairs", pairs), "EASE", "ease")
    once = tune({"ease": task}, tmp_path / "out", IN_THIS_PROCESS)
    monkeypatch.setattr(UserItemModel, "fit", lambda *_, **__: pytest.fail("fitted again"))
    assert tune({"ease": task}, tmp_path / "out", IN_THIS_PROCESS) == once


def rows_of(pairs, tmp_path, *words: str) -> tuple[str, dict[str, dict]]:
    file = tmp_path / "figures.json"
    models = ("-m", "popularity", "-m", "ease", "-m", "ials", "--set", "ials.factors=4", "--set", "ials.threads=1")
    arguments = ["benchmark", "--dataset", "pairs", "--path", str(pairs), *models, *words, "--json", str(file)]
    answer = CliRunner().invoke(app, arguments)
    assert answer.exit_code == 0, answer.output
    return answer.output, {row["model"]: row for row in json.loads(file.read_text())["figures"]["models"]}


def test_every_row_says_what_was_tuned(pairs, tmp_path):
    output, rows = rows_of(pairs, tmp_path)
    assert set(rows["ials"]["tuned"]) == {"l2", "alpha"}
    assert rows["ease"]["settings"]["l2"] == rows["ease"]["tuned"]["l2"]
    best = max(rows["ease"]["trials"], key=lambda trial: trial["ndcg@100"])
    assert best["l2"] == rows["ease"]["tuned"]["l2"]
    assert f"tuned: l2 {best['l2']:g}" in output
    assert next(line for line in output.splitlines() if line.startswith("Popularity")).endswith("none")


def test_a_setting_of_the_users_stays_and_is_told_and_fixed_tunes_nothing(pairs, tmp_path):
    output, rows = rows_of(pairs, tmp_path, "--set", "ials.l2=7", "--set", "ease.l2=300")
    assert (rows["ials"]["settings"]["l2"], list(rows["ials"]["tuned"])) == (7, ["alpha"])
    assert "given: l2 7" in output
    assert "given: l2 300" in output
    assert rows["ease"]["tuned"] == {}
    output, rows = rows_of(pairs, tmp_path, "--fixed")
    assert all(not row["tuned"] for row in rows.values())
    assert (rows["ease"]["settings"]["l2"], rows["ials"]["settings"]["l2"]) == (500, 50)
    assert output.count("not tuned") == 2


def test_measured_on_validation_nothing_is_tuned(pairs, tmp_path):
    _, rows = rows_of(pairs, tmp_path, "--part", "validation")
    assert all(not row["tuned"] for row in rows.values())


def test_the_tuned_row_is_the_models_own_measurement_on_the_test_users(pairs, tmp_path):
    _, rows = rows_of(pairs, tmp_path)
    direct = run_model("ease", load_split("pairs", pairs), rows["ease"]["tuned"])
    assert rows["ease"]["recall@20"]["mean"] == pytest.approx(direct.evaluation.mean("recall@20"), abs=1e-6)


def test_differences_to_another_model_are_paired(pairs, tmp_path):
    output, rows = rows_of(pairs, tmp_path, "--compare-to", "popularity", "--fixed")
    split = load_split("pairs", pairs)
    found = [run_model(name, split).evaluation.per_user["recall@20"] for name in ("ease", "popularity")]
    change = found[0] - found[1]
    told = rows["ease"]["difference to popularity"]["recall@20"]
    assert told["mean"] == pytest.approx(change.mean(), abs=1e-6)
    assert told["standard_error"] == pytest.approx(change.std(ddof=1) / np.sqrt(len(change)), abs=1e-6)
    assert "over popularity" in output
    assert rows["popularity"]["difference to popularity"]["recall@20"]["mean"] == 0


def test_cut_offs_may_be_given(pairs, tmp_path):
    _, rows = rows_of(pairs, tmp_path, "--at", "5", "--at", "10", "--fixed")
    assert {name for name in rows["ease"] if "@" in name} == {
        f"{measure}@{k}" for measure in ("recall", "ndcg", "coverage") for k in (5, 10)
    }


def test_with_many_users_a_sample_of_them_validates():
    rng = np.random.default_rng(0)
    targets = np.zeros((1000, 5), np.float32)
    targets[np.arange(1000), rng.integers(0, 5, 1000)] = 1
    users = HeldOutUsers(csr_matrix(1 - targets), csr_matrix(targets))
    some = users.sample(scores=5 * 400, seed=1)
    assert len(some) == 400
    assert len(users.sample(scores=5)) == 300
    assert users.sample() is users
    assert np.array_equal(some.fold_in.toarray(), 1 - some.targets.toarray())
    assert not np.array_equal(some.targets.toarray(), users.sample(scores=5 * 400, seed=2).targets.toarray())
