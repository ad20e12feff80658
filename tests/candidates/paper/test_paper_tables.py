"""The paper's tables: the runner's promises, the summaries' arithmetic, each command on made-up data."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from candidates.benchmarks.benchmark import Result, run_model
from candidates.benchmarks.datasets import DataSource, load_split
from candidates.benchmarks.runner import run_tasks
from candidates.benchmarks.summary import Line, markdown, measured, percent, short
from candidates.benchmarks.tasks import ModelTask, with_share
from candidates.errors import CandidatesError
from candidates.paper import table2, table3
from candidates.protocols.metrics import Evaluation
from data.errors import TandemError
from data.simulator import Marketplace, preset
from data.simulator.cli import write_marketplace
from data.workspace import Workspace
from pipeline.candidates_cli import app


@dataclass(frozen=True)
class Told:
    """A task that notes its runs in a file and then does what its title says."""

    title: str
    notes: Path
    weight: float = 1.0

    def key(self) -> str:
        return self.title

    def run(self, checkpoint: Path) -> dict[str, object]:
        with self.notes.open("a") as file:
            file.write(self.title + "\n")
        if self.title == "wrong":
            raise CandidatesError("no such thing; expected another")
        if self.title == "dead":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.title == "long":
            time.sleep(60)
        return {"answer": len(self.title)}


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


KILLED = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_paper_tables import Told
from candidates.benchmarks.runner import run_tasks
if __name__ == "__main__":
    run_tasks("test", [Told("short", Path({notes!r})), Told("long", Path({notes!r}))], Path({out!r}), 2)
"""


def test_a_run_killed_outright_takes_its_tasks_with_it_and_keeps_what_is_finished(tmp_path):
    notes, out, script = tmp_path / "notes", tmp_path / "out", tmp_path / "run.py"
    script.write_text(KILLED.format(tests=str(Path(__file__).parent), notes=str(notes), out=str(out)))
    process = subprocess.Popen([sys.executable, str(script)], stderr=subprocess.DEVNULL)
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


@pytest.fixture
def ratings(tmp_path):
    """160 users of two tastes among 40 items."""
    rng = np.random.default_rng(0)
    path = tmp_path / "ratings.csv"
    taste = rng.integers(0, 2, 160)[:, None] == (np.arange(40) % 2)[None]
    liked = rng.random((160, 40)) < np.where(taste, 0.5, 0.1)
    lines = [f"{user},{item},{5 if liked[user, item] else 2}" for user in range(160) for item in range(40)]
    path.write_text("userId,movieId,rating\n" + "\n".join(lines) + "\n")
    return path


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


def run(command: str, ratings: Path, out: Path, *more: str):
    arguments = [command, "--path", str(ratings), "--held-out", "20", "--out", str(out), "--json", str(out / "f.json")]
    return CliRunner().invoke(app, [*arguments, "--jobs", "2", *more])


@pytest.mark.slow
def test_table_2_has_the_papers_figures_beside_ours(ratings, tmp_path, monkeypatch):
    chosen = tuple(row for row in table2.ROWS if row.model in ("mult-vae", "ease", "popularity"))
    monkeypatch.setattr(table2, "ROWS", chosen)
    answer = run("table2", ratings, tmp_path / "out", "--seeds", "1")
    assert answer.exit_code == 0, answer.output
    page = (tmp_path / "out" / "table2.md").read_text()
    assert "| VAE | Mult | .396 | " in page
    assert "| EASE |  | .391 | " in page
    assert (tmp_path / "out" / "table2.png").read_bytes()[:4] == b"\x89PNG"
    rows = json.loads((tmp_path / "out" / "f.json").read_text())["figures"]["rows"]
    assert [row["model"] for row in rows] == ["mult-vae", "ease", "popularity"]
    assert rows[1]["recall@20"]["mean"] > rows[2]["recall@20"]["mean"]
    assert rows[0]["recall@20 over mult-vae"] == [0.0, 0.0]


@pytest.mark.slow
def test_figures_2_and_7_draw_a_point_for_every_setting(ratings, tmp_path):
    answer = run("figure7", ratings, tmp_path / "seven", "--negatives", "3")
    assert answer.exit_code == 0, answer.output
    points = json.loads((tmp_path / "seven" / "f.json").read_text())["figures"]["points"]
    assert [(point["series"], point["at"]) for point in points] == [
        ("Mult-CSS", 3),
        ("BPR", 3),
        ("NS", 3),
        ("multinomial", 0),
    ]
    answer = run("figure2", ratings, tmp_path / "two", "--share", "0.5")
    assert answer.exit_code == 0, answer.output
    assert "SVD start, project" in (tmp_path / "two" / "figure2.md").read_text()
    for picture in ("seven/figure7.png", "two/figure2.png"):
        assert (tmp_path / picture).stat().st_size > 5000


def test_a_log_that_cannot_be_divided_is_told_once_before_anything_is_fitted(tmp_path):
    place = Workspace(tmp_path / "w")
    write_marketplace(place, Marketplace.generate(preset("small", seed=3)))
    words = ["table3", "-w", str(place.root), "--days", "30000", "--out", str(tmp_path / "out")]
    with pytest.raises(CandidatesError, match="take fewer days"):
        raise CliRunner().invoke(app, words).exception
    assert not (tmp_path / "out").exists()


def test_rows_that_memory_cannot_hold_are_left_out_of_table_2(monkeypatch):
    monkeypatch.setattr("candidates.models.model.available_memory", lambda: 20 << 30)
    whole, less, least = ({row.model for row in table2._rows(items)} for items in (20_000, 45_000, 60_000))
    assert (whole - less, less - least) == ({"ease"}, {"slim"})


@pytest.mark.parametrize(("command", "text"), [("table2", "1,2\n"), ("figure7", "1,2,5\n"), ("figure2", "")])
def test_data_that_cannot_be_split_is_told_once_before_anything_is_fitted(tmp_path, command, text):
    (tmp_path / "ratings.csv").write_text(text)
    with pytest.raises(TandemError) as raised:
        raise run(command, tmp_path / "ratings.csv", tmp_path / "out").exception
    assert len(str(raised.value)) < 300
    assert not (tmp_path / "out").exists()


def test_a_file_that_is_not_there_is_one_sentence(tmp_path):
    with pytest.raises(CandidatesError, match=r"nothing\.csv cannot be read"):
        DataSource.of("movielens-1m", tmp_path / "nothing.csv")


@pytest.mark.slow
def test_table_3_measures_recall_and_click_rank_on_a_simulated_workspace(tmp_path, monkeypatch):
    small = (("hidden", "8"), ("latent", "8"), ("learning_rate", "0.01"), ("dropout", "0"), ("epochs", "8"))
    sizes = {"led-bpr": (("dimension", "8"), ("dropout", "0"), ("epochs", "3")), "paper-vae": small}
    monkeypatch.setattr(table3, "SETTINGS", sizes)
    place = Workspace(tmp_path / "w")
    write_marketplace(place, Marketplace.generate(preset("small", seed=3)))
    page = tmp_path / "out" / "table3.md"
    arguments = ["table3", "-w", str(place.root), "--days", "3", "--seeds", "1", "--out", str(page.parent)]
    answer = CliRunner().invoke(app, [*arguments, "--json", str(tmp_path / "f.json")])
    assert answer.exit_code == 0, answer.output
    assert page.read_text().startswith("# LED paper, Table 3, on SIMULATED")
    figures = json.loads((tmp_path / "f.json").read_text())["figures"]
    assert figures["data"]["simulated"] is True
    for row in figures["rows"]:
        assert 0 < row["click rank"]["mean"] < 1
        assert row["recall@20"]["mean"] > 0
