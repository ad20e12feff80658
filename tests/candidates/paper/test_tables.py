"""The paper's tables and figures, each command on made-up data."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from candidates.benchmarks.datasets import DataSource
from candidates.errors import CandidatesError
from candidates.paper import table2, table3
from data.errors import TandemError
from data.simulator import Marketplace, preset
from data.simulator.cli import write_marketplace
from data.workspace import Workspace
from pipeline.candidates_cli import app
from tests.support.user_items import write_ratings


@pytest.fixture
def ratings(tmp_path):
    return write_ratings(tmp_path / "ratings.csv", users=160)


def run(command: str, ratings: Path, out: Path, *more: str):
    arguments = [
        command,
        "--path",
        str(ratings),
        "--held-out",
        "20",
        "--output",
        str(out),
        "--json",
        str(out / "f.json"),
    ]
    return CliRunner().invoke(app, [*arguments, "--processes", "2", *more])


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
    words = ["table3", "-w", str(place.root), "--days", "30000", "--output", str(tmp_path / "out")]
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
    arguments = ["table3", "-w", str(place.root), "--days", "3", "--seeds", "1", "--output", str(page.parent)]
    answer = CliRunner().invoke(app, [*arguments, "--json", str(tmp_path / "f.json")])
    assert answer.exit_code == 0, answer.output
    assert page.read_text().startswith("# LED paper, Table 3, on SIMULATED")
    figures = json.loads((tmp_path / "f.json").read_text())["figures"]
    assert figures["data"]["simulated"] is True
    for row in figures["rows"]:
        assert 0 < row["click rank"]["mean"] < 1
        assert row["recall@20"]["mean"] > 0
