"""`tandem data import` and `describe`, as typed."""

import json

import pytest
from typer.testing import CliRunner

import tandem.cli
from data.cli import app
from data.errors import DataError

EVENTS = """event_id,ts,user_id,kind,item_id,merchant_id,country,order_value
e1,2024-05-01,u1,view,i1,m1,FR,
e2,2024-05-02,u1,sale,i2,m1,FR,3.5
e3,2024-05-03,u2,view,i3,m2,DE,
"""


@pytest.fixture
def events(tmp_path):
    path = tmp_path / "events.csv"
    path.write_text(EVENTS)
    return path


def tandem_data(*words):
    return CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=True)


def test_import_then_describe_count_what_came_in(events, tmp_path):
    workspace = tmp_path / "workspace"
    found = tandem_data("import", events, "-w", workspace, "--json", tmp_path / "import.json")
    assert found.exit_code == 0, found.output
    assert json.loads((tmp_path / "import.json").read_text())["figures"]["events"] == 3
    found = tandem_data("describe", "-w", workspace, "--json", tmp_path / "describe.json")
    assert found.exit_code == 0, found.output
    assert "m1" in found.output
    figures = json.loads((tmp_path / "describe.json").read_text())["figures"]
    assert figures["origin"]["simulated"] is False
    assert figures["events_by_kind"] == {"view": 2, "click": 0, "landing": 0, "sale": 1}
    assert (figures["users"], figures["merchants"], figures["countries"]) == (2, 2, 2)
    assert figures["first_event"] == "2024-05-01T00:00:00+00:00"
    assert figures["items_per_user"] == {"median": 1, "ninth_decile": 1, "most": 2}
    assert [(row["merchant_id"], row["items"], row["sales"]) for row in figures["by_merchant"]] == [
        ("m1", 2, 1),
        ("m2", 1, 0),
    ]


def test_names_that_look_like_markup_are_shown_as_they_are(events, tmp_path):
    file = tmp_path / "log[red].csv"
    file.write_text(EVENTS.replace("m1", "[/b]m1").replace("m2", "[red]m2"))
    imported = tandem_data("import", file, "-w", tmp_path / "[shop]")
    described = tandem_data("describe", "-w", tmp_path / "[shop]")
    assert (imported.exit_code, described.exit_code) == (0, 0), described.exception
    assert "log[red].csv" in imported.output
    assert "[/b]m1" in described.output and "[red]m2" in described.output and "[shop]" in described.output


def test_a_mapping_is_given_in_words(events, tmp_path):
    words = ("--map", "item_id=merchant_id", "--constant", "merchant_id=a=b", "--kind-map", "sale=skip")
    found = tandem_data(
        "import", events, "--format", "mapping", *words, "-w", tmp_path, "--json", tmp_path / "figures.json"
    )
    assert found.exit_code == 0, found.output
    assert json.loads((tmp_path / "figures.json").read_text())["figures"]["items"] == 2
    assert "a=b" in tandem_data("describe", "-w", tmp_path).output


@pytest.mark.parametrize("words", [("--map", "user_id"), ("--map", "=x"), ("--constant", "a=1", "--constant", "a=2")])
def test_a_pair_that_is_none_is_a_usage_error(events, tmp_path, words):
    found = tandem_data("import", events, "--format", "mapping", "-w", tmp_path / "workspace", *words)
    assert found.exit_code == 2
    assert not (tmp_path / "workspace").exists()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--format", "netflix"), "format 'netflix': expected one of auto, events, rees46"),
        (("--format", "events", "--map", "user_id=x"), "are for format mapping"),
        (("--catalog", "nowhere.csv"), r"nowhere\.csv: expected a file, found nothing there"),
    ],
)
def test_what_a_user_can_mend_is_said_in_one_sentence(events, tmp_path, words, expected):
    found = tandem_data("import", events, "-w", tmp_path / "workspace", *words)
    with pytest.raises(DataError, match=expected):
        raise found.exception


def test_the_command_prints_the_sentence_alone_and_exits_with_2(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["tandem", "data", "describe", "-w", str(tmp_path)])
    with pytest.raises(SystemExit) as stopped:
        tandem.cli.main()
    assert stopped.value.code == 2
    printed = capsys.readouterr().err
    assert "holds no events" in printed
    assert "Traceback" not in printed


@pytest.mark.parametrize("name", ["[red]x", "x[", "a[", "[nope].csv"])
def test_a_name_in_brackets_is_shown_as_it_is(tmp_path, monkeypatch, capsys, name):
    monkeypatch.setattr("sys.argv", ["tandem", "data", "import", f"{name}/b].csv", "-w", str(tmp_path)])
    with pytest.raises(SystemExit) as stopped:
        tandem.cli.main()
    assert stopped.value.code == 2 and f"{name}/b].csv: expected" in capsys.readouterr().err


def test_control_characters_of_a_name_do_not_reach_the_terminal(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["tandem", "data", "import", "\x1b[31mlog.csv", "-w", str(tmp_path)])
    with pytest.raises(SystemExit):
        tandem.cli.main()
    assert r"\x1b[31mlog.csv: expected" in capsys.readouterr().err


def test_what_the_system_refuses_is_one_sentence(events, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["tandem", "data", "import", str(events), "-w", str(events / "workspace")])
    with pytest.raises(SystemExit) as stopped:
        tandem.cli.main()
    assert stopped.value.code == 2
    assert "Not a directory" in capsys.readouterr().err


def test_an_unknown_engine_is_refused(events, tmp_path):
    tandem_data("import", events, "-w", tmp_path)
    with pytest.raises(DataError, match="engine 'hadoop': expected one of duckdb, spark"):
        raise tandem_data("describe", "-w", tmp_path, "--engine", "hadoop").exception
