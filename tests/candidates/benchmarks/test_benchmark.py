"""`tandem candidates benchmark` on made-up files, and the known level of the closed-form models on real ratings."""

import json
import math

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from candidates.baselines.ease import Ease
from candidates.baselines.popularity import Popularity
from candidates.benchmarks.benchmark import run_model
from candidates.benchmarks.cli import add_commands
from candidates.benchmarks.datasets import load_split
from candidates.benchmarks.registry import MODELS
from candidates.errors import CandidatesError
from data.errors import TandemError
from pipeline.candidates_cli import app as candidates_app
from tests.support.user_items import write_ratings

app = typer.Typer()
add_commands(app)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """Finished rows are kept below the folder of the call."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def ratings(tmp_path):
    return write_ratings(tmp_path / "ratings.csv", users=150)


def test_a_log_of_mostly_short_histories_has_a_default_split(tmp_path):
    path = tmp_path / "pairs.csv"
    rows = [(user, item) for user in range(400) for item in range(8 if user < 40 else 1)]
    path.write_text("\n".join(f"{user},{item}" for user, item in rows))
    split = load_split("pairs", path)
    assert (split.train.shape[0], len(split.validation), len(split.test)) == (20, 10, 10)


def run(*arguments: str):
    return CliRunner().invoke(app, ["benchmark", *arguments], env={"COLUMNS": "120"})


def test_the_command_prints_a_row_per_model_and_writes_the_figures(ratings, tmp_path):
    file = tmp_path / "figures.json"
    answer = run(
        "--path",
        str(ratings),
        "--held-out",
        "20",
        "-m",
        "popularity",
        "-m",
        "ease",
        "--set",
        "ease.l2=20",
        "--json",
        str(file),
    )
    assert answer.exit_code == 0, answer.output
    assert "Popularity" in answer.output
    assert "EASE" in answer.output
    figures = json.loads(file.read_text())["figures"]
    popularity, ease = figures["models"]
    assert (figures["protocol"], figures["split"]["test_users"]) == ("strong", 20)
    assert ease["settings"] == {"l2": 20.0}
    assert ease["users"] == 20
    assert ease["ndcg@100"]["mean"] > popularity["ndcg@100"]["mean"] + 2 * ease["ndcg@100"]["standard_error"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("-m", "led", "--set", "threads=0"), "led: threads: Input should be greater than or equal to 1, found 0"),
        (("-m", "ease", "--set", "l2=inf"), "l2: Input should be .*, found 'inf'"),
        (("-m", "elsa", "--set", "seed=-1"), "seed: Input should be greater than or equal to 0, found -1"),
        (("-m", "ials", "--set", "alpha=1e30", "--set", "factors=2"), "iALS came to no solution"),
        (("-m", "elsa", "--set", "device=abacus"), "the device 'abacus' cannot be used"),
        (("-m", "popularity", "--json", "/dev/null/figures.json"), "expected a file in a folder that can be written"),
    ],
)
def test_a_setting_that_cannot_be_is_one_sentence(ratings, arguments, expected):
    with pytest.raises(TandemError, match=expected):
        raise run("--path", str(ratings), "--held-out", "20", *arguments).exception


def test_a_workspaces_options_are_not_passed_over_with_a_path(ratings):
    words = ["evaluate", "--path", str(ratings), "-m", "popularity", "--split", "time"]
    with pytest.raises(CandidatesError, match="--split is for a workspace"):
        raise CliRunner().invoke(candidates_app, words).exception


def test_a_model_that_memory_cannot_hold_is_refused_by_name_and_left_out_of_all(ratings, monkeypatch):
    monkeypatch.setattr("candidates.models.model.available_memory", lambda: 40 * 40 * 10)
    refused = run("--path", str(ratings), "--held-out", "20", "-m", "popularity", "-m", "ease").exception
    with pytest.raises(CandidatesError, match=r"EASE compares every item with every other: 40 items need 0\.0 GiB"):
        raise refused
    every = {name: MODELS[name] for name in ("popularity", "ease")}
    monkeypatch.setattr("candidates.benchmarks.registry.MODELS", every)
    answer = run("--path", str(ratings), "--held-out", "20")
    assert answer.exit_code == 0, answer.output
    assert "left out: EASE" in answer.output and "Popularity" in answer.output


def test_seeds_repeat_only_models_that_draw(ratings, tmp_path):
    file = tmp_path / "figures.json"
    models = ("-m", "ials", "-m", "ease", "--set", "ials.factors=4", "--set", "ials.threads=1")
    run("--path", str(ratings), "--held-out", "20", *models, "--seed", "1", "--seeds", "2", "--json", str(file))
    rows = json.loads(file.read_text())["figures"]["models"]
    assert [(row["model"], row["settings"].get("seed")) for row in rows] == [("ials", 1), ("ials", 2), ("ease", None)]


def test_an_interrupted_run_keeps_its_finished_rows(ratings, tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(Popularity, "_fit", interrupted)
    file = tmp_path / "figures.json"
    answer = run("--path", str(ratings), "--held-out", "20", "-m", "ease", "-m", "popularity", "--json", str(file))
    assert answer.exit_code != 0
    assert "EASE " in answer.output
    assert [row["model"] for row in json.loads(file.read_text())["figures"]["models"]] == ["ease"]


def test_a_training_that_was_interrupted_is_no_row(ratings, tmp_path, monkeypatch):
    def interrupting(vectors, batch):
        raise KeyboardInterrupt

    file = tmp_path / "figures.json"
    words = ("--path", str(ratings), "--held-out", "20", "-m", "ease", "-m", "elsa", "--fixed", "--json", str(file))
    small = ("--set", "elsa.epochs=1", "--set", "elsa.dimension=4", "--set", "elsa.device=cpu")
    with monkeypatch.context() as patch:
        patch.setattr("candidates.models.epochs._interrupted", -math.inf)
        patch.setattr("candidates.baselines.elsa.cosine_loss", interrupting)
        assert run(*words, *small).exit_code != 0
    assert [row["model"] for row in json.loads(file.read_text())["figures"]["models"]] == ["ease"]
    assert run(*words, *small).exit_code == 0
    assert [row["epochs"] for row in json.loads(file.read_text())["figures"]["models"]] == [None, 1]


def test_a_run_goes_on_where_another_ended(ratings, tmp_path, monkeypatch):
    words = ("--path", str(ratings), "--held-out", "20", "-m", "ease", "-m", "popularity")
    run(*words[:-2])
    monkeypatch.setattr(Ease, "_fit", lambda *_: pytest.fail("fitted again"))
    file = tmp_path / "figures.json"
    answer = run(*words, "--json", str(file))
    assert answer.exit_code == 0, answer.output
    assert [row["model"] for row in json.loads(file.read_text())["figures"]["models"]] == ["ease", "popularity"]


def test_a_model_that_fails_is_told_after_the_others_rows(ratings, tmp_path, monkeypatch):
    def failing(*_):
        raise CandidatesError("no solution; expected another")

    monkeypatch.setattr(Ease, "_fit", failing)
    file = tmp_path / "figures.json"
    words = ("-m", "ease", "-m", "popularity", "--fixed", "--json", str(file))
    answer = run("--path", str(ratings), "--held-out", "20", *words)
    assert str(answer.exception) == "EASE: no solution; expected another"
    assert [row["model"] for row in json.loads(file.read_text())["figures"]["models"]] == ["popularity"]


def test_lists_are_measured_under_weak_generalisation(tmp_path):
    rng = np.random.default_rng(1)
    train, test = [], []
    for user in range(60):
        items = rng.permutation(np.arange(user % 2, 40, 2))[:12]
        train.append(" ".join(map(str, [user, *items[:8]])))
        test.append(" ".join(map(str, [user, *items[8:]])))
    (tmp_path / "train.txt").write_text("\n".join(train))
    (tmp_path / "test.txt").write_text("\n".join(test))
    split = load_split("pairs", tmp_path)
    result = run_model("ease", split, {"l2": "50"})
    assert set(result.evaluation.per_user) == {"recall@20", "ndcg@20"}
    assert result.evaluation.mean("recall@20") == 1.0  # of the 20 items of a user's kind, 12 are left to propose
    with pytest.raises(CandidatesError, match="is a published split"):
        load_split("pairs", tmp_path, held_out=5)


def test_models_measured_on_validation_have_not_seen_its_answers(tmp_path):
    items = np.tile(np.arange(8), (40, 1))
    lists = [" ".join(map(str, [user, *((user * 3 + row) % 60)])) for user, row in zip(range(40), items, strict=True)]
    (tmp_path / "train.txt").write_text("\n".join(lists))
    (tmp_path / "test.txt").write_text("\n".join(f"{user} {user}" for user in range(40)))
    split = load_split("pairs", tmp_path)
    fitted = []

    class Spy(Popularity):
        def _fit(self, user_items, *rest):
            fitted.append(user_items.nnz)
            super()._fit(user_items, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("candidates.baselines.popularity.Popularity", Spy)
        run_model("popularity", split, part="validation")
        run_model("popularity", split, part="test")
    assert fitted == [split.train_for_validation.nnz, split.train.nnz]
    assert fitted[0] < fitted[1]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("-m", "ease", "--set", "l2"), "expected MODEL.SETTING=VALUE"),
        (("-m", "ease", "-m", "slim", "--set", "l2=3"), "expected MODEL.SETTING=VALUE for one of ease, slim"),
        (("-m", "eas"), "there is no model 'eas'"),
    ],
)
def test_mistakes_on_the_command_line_are_told_before_any_work(tmp_path, arguments, expected):
    answer = run("--path", str(tmp_path / "missing"), *arguments)
    assert isinstance(answer.exception, CandidatesError)
    assert expected in str(answer.exception)


@pytest.mark.slow
def test_closed_form_models_reach_their_known_level_on_movielens_1m(shared_data):
    split = load_split("movielens-1m", shared_data("movielens-1m/ratings.csv.gz"))
    for name, expected in (("popularity", (0.161, 0.233, 0.211)), ("ease", (0.361, 0.477, 0.423))):
        found = run_model(name, split).evaluation
        means = [found.mean(figure) for figure in ("recall@20", "recall@50", "ndcg@100")]
        assert means == pytest.approx(expected, abs=0.001)


def test_evaluate_with_a_path_is_the_same_protocol(ratings, tmp_path):
    benchmarked, evaluated = tmp_path / "a.json", tmp_path / "b.json"
    lines = [",".join(line.split(",")[:2]) for line in ratings.read_text().splitlines() if line.endswith(",5")]
    pairs = tmp_path / "pairs.csv"
    pairs.write_text("user,item\n" + "\n".join(lines) + "\n")
    arguments = ["--dataset", "pairs", "--path", str(pairs), "--model", "ease", "--model", "popularity", "--json"]
    for command, file in (("benchmark", benchmarked), ("evaluate", evaluated)):
        answer = CliRunner().invoke(candidates_app, [command, *arguments, str(file)])
        assert answer.exit_code == 0, answer.output
    rows = [json.loads(file.read_text())["figures"]["models"] for file in (benchmarked, evaluated)]
    figures = [[row["ndcg@100"] for row in part] for part in rows]
    assert figures[0] == figures[1]
    answer = CliRunner().invoke(candidates_app, ["evaluate", "--model", "ease"])
    assert isinstance(answer.exception, CandidatesError)
    assert "expected its file with --path" in str(answer.exception)
