"""Tasks: finished rows are kept, failures told, seeds averaged; a task's row is the model's own measurement."""

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from candidates.benchmarks.benchmark import Result, run_model
from candidates.benchmarks.datasets import DataSource, load_split
from candidates.benchmarks.runner import run_tasks
from candidates.benchmarks.summary import Line, markdown, measured, percent, short
from candidates.benchmarks.tasks import ModelTask, with_share
from candidates.errors import CandidatesError
from candidates.protocols.metrics import Evaluation
from tests.support.tasks import Told
from tests.support.user_items import write_ratings


@pytest.fixture
def ratings(tmp_path):
    return write_ratings(tmp_path / "ratings.csv", users=160)


def notes_of(path: Path) -> list[str]:
    return sorted(path.read_text().split()) if path.exists() else []


def test_finished_rows_are_kept_in_order_and_never_run_again(tmp_path):
    notes = tmp_path / "notes"
    tasks = [Told(name, notes) for name in ("b", "aa", "ccc")]
    for _ in range(2):
        rows = run_tasks("test", tasks, tmp_path / "out", 2)
        assert [row["answer"] for row in rows] == [1, 2, 3]
        assert notes_of(notes) == ["aa", "b", "ccc"]
    (tmp_path / "out" / "rows" / "aa.json").write_text("{half")
    with pytest.raises(CandidatesError, match=r"aa\.json: expected a finished row"):
        run_tasks("test", tasks, tmp_path / "out", 2)


def test_a_task_that_fails_or_dies_is_told_after_the_others_are_finished(tmp_path):
    notes = tmp_path / "notes"
    tasks = [Told(name, notes) for name in ("wrong", "dead", "fine")]
    with pytest.raises(CandidatesError, match="wrong: no such thing; expected another") as raised:
        run_tasks("test", tasks, tmp_path / "out", 1)
    assert "dead: its process was ended by signal 9" in str(raised.value)
    assert [file.name for file in (tmp_path / "out" / "rows").iterdir()] == ["fine.json"]


def test_a_run_killed_outright_takes_its_tasks_with_it_and_keeps_what_is_finished(tmp_path):
    notes, out = tmp_path / "notes", tmp_path / "out"
    command = [sys.executable, "-m", "tests.support.tasks", str(notes), str(out)]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, cwd=Path(__file__).parents[3])
    try:
        begun = time.monotonic()
        while not ((out / "rows" / "short.json").exists() and notes_of(notes) == ["long", "short"]):
            assert time.monotonic() - begun < 60
            time.sleep(0.05)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    finally:
        process.kill()
        process.wait()
    begun = time.monotonic()
    while any(_works(int(child)) for child in children):
        assert time.monotonic() - begun < 10, "a task outlived the run it belongs to"
        time.sleep(0.1)
    assert json.loads((out / "rows" / "short.json").read_text())["answer"] == 5


def _works(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


def line(values: list[list[float]], title: str = "a") -> Line:
    measured = [Evaluation({"recall@20": np.array(one)}) for one in values]
    return Line.of(title, [Result("a", title, {}, {}, 2.0, 3, evaluation) for evaluation in measured])


def test_seeds_are_averaged_user_by_user_and_differences_are_paired():
    one, other = line([[0.2, 0.4, 0.6], [0.4, 0.6, 0.8]]), line([[0.2, 0.4, 0.6]])
    assert one.per_user["recall@20"] == pytest.approx([0.3, 0.5, 0.7])
    assert one.by_seed["recall@20"] == pytest.approx([0.4, 0.6])
    assert one.mean("recall@20").error == pytest.approx(np.std([0.3, 0.5, 0.7], ddof=1) / np.sqrt(3))
    change, error = one.over(other, "recall@20")
    assert (change, error) == (pytest.approx(0.25), pytest.approx(0.0, abs=1e-12))  # everybody gains the same .1


def test_figures_are_written_as_such_tables_are():
    assert (short(0.36061), short(1.0), short(0.0)) == (".3606", "1.0000", ".0000")
    assert measured(line([[0.25, 0.35]]), "recall@20") == ".3000 ± .0500"
    assert percent((-0.053, 0.011)) == "-5.3 % ± 1.1"
    assert markdown(["a", "b"], [["c", "d"]]) == "| a | b |\n| --- | ---: |\n| c | d |"


def test_a_tasks_row_is_the_models_own_measurement(ratings, tmp_path):
    source = DataSource.of("movielens-1m", ratings, held_out=20)
    settings = (("dimension", "8"), ("negatives", "10"), ("epochs", "3"))
    row = ModelTask(source, "LED", "led-bpr", settings, seed=4).run(tmp_path / "checkpoint")
    direct = run_model("led-bpr", load_split("movielens-1m", ratings, held_out=20), dict(settings), seed=4)
    for name, values in direct.evaluation.per_user.items():
        assert row["per_user"][name] == pytest.approx(values, abs=1e-6)


def test_a_key_changes_with_data_settings_seed_share_and_part_and_not_with_the_title(ratings, tmp_path):
    source = DataSource.of("movielens-1m", ratings, held_out=20)
    task = ModelTask(source, "a", "led-bpr")
    assert ModelTask(source, "b", "led-bpr", weight=9).key() == task.key()
    assert ModelTask(source, "a", "led-bpr", (("dimension", "600"),)).key() == task.key()  # the default
    other = tmp_path / "other.csv"
    other.write_text(ratings.read_text() + "900,1,5\n")
    different = [
        ModelTask(DataSource.of("movielens-1m", other, held_out=20), "a", "led-bpr"),
        ModelTask(DataSource.of("movielens-1m", ratings, held_out=21), "a", "led-bpr"),
        ModelTask(source, "a", "led-ns"),
        ModelTask(source, "a", "led-bpr", (("dimension", "8"),)),
        ModelTask(source, "a", "led-bpr", seed=1),
        ModelTask(source, "a", "led-bpr", share=0.5),
        ModelTask(source, "a", "led-bpr", part="validation"),
    ]
    assert len({task.key(), *(one.key() for one in different)}) == 1 + len(different)


def test_a_share_takes_training_users_alone(ratings):
    split = load_split("movielens-1m", ratings, held_out=20)
    part = with_share(split, 0.25)
    assert part.train.shape == (round(0.25 * split.train.shape[0]), split.train.shape[1])
    rows = {tuple(row) for row in split.train.toarray().tolist()}
    assert all(tuple(row) in rows for row in part.train.toarray().tolist())
    assert part.test is split.test
