"""`tandem catalog update` before the first training, as typed."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from data.errors import DataError
from tandem.cli import app

EVENTS = "event_id,ts,user_id,kind,item_id,merchant_id,country\ne1,2024-05-01,u1,view,i1,m1,FR\n"


def test_columns_of_a_catalog_file_that_are_not_read_are_named(tmp_path: Path) -> None:
    (tmp_path / "events.csv").write_text(EVENTS)
    (tmp_path / "prices.csv").write_text("item_id,price,colour[red]\ni1,5,blue\n")
    words = ["data", "import", tmp_path / "events.csv", "-w", tmp_path / "w"]
    assert CliRunner().invoke(app, [str(word) for word in words]).exit_code == 0
    words = ["catalog", "update", tmp_path / "prices.csv", "-w", tmp_path / "w", "--json", tmp_path / "update.json"]
    found = CliRunner().invoke(app, [str(word) for word in words])
    assert found.exit_code == 0 and "not read: colour[red]; expected some of item_id" in found.output
    assert json.loads((tmp_path / "update.json").read_text())["figures"]["columns not read"] == ["colour[red]"]


@pytest.mark.parametrize("words", [["catalog", "update", "prices.csv"], ["train"], ["candidates", "train"]])
def test_a_workspace_that_is_not_there_is_refused_and_nothing_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("prices.csv").write_text("item_id,price\ni1,5\n")
    found = CliRunner().invoke(app, [*words, "-w", "nowhere"])
    assert isinstance(found.exception, DataError) and "holds no events" in str(found.exception)
    assert not Path("nowhere").exists()
