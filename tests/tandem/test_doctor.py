"""`tandem doctor` says what a machine lacks, and what to do about it."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

import tandem.doctor
from data.workspace import Origin, Workspace
from tandem.cli import app


def found(workspace: Workspace | None = None) -> dict[str, tuple[str, str]]:
    return {one.name: (one.state, one.told) for one in tandem.doctor.findings(workspace)}


def test_this_machine_is_well_where_it_must_be() -> None:
    states = found()
    assert states["Python"][0] == states["packages"][0] == "well"
    assert states["C++ compiler"] == ("well", "c++ compiles C++17 with OpenMP")


def test_what_is_missing_is_named_with_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    monkeypatch.setattr(tandem.doctor, "available_memory", lambda: 1 << 30)
    real = tandem.doctor.version
    monkeypatch.setattr(tandem.doctor, "version", lambda name: "0.0.1" if name == "numpy" else real(name))
    states = found()
    assert states["C++ compiler"][0] == "look" and "install g++" in states["C++ compiler"][1]
    assert states["memory"] == ("look", "1.0 GiB free, which is little: large trainings and several workers need more")
    assert states["packages"][0] == "wrong" and "numpy 0.0.1, expected ==" in states["packages"][1]


def test_a_workspace_is_looked_at_too(tmp_path: Path) -> None:
    place = Workspace(tmp_path / "w")
    assert "holds no events" in found(place)["workspace"][1] and not place.root.exists()
    place.root.mkdir()
    place.write_origin(Origin("made up", True, "0", 10, 2))
    assert found(place)["workspace"] == ("well", "10 events and 2 items of made up")
    assert found(place)["bundle"][0] == "look"
    (place.bundles / "current").mkdir(parents=True)
    assert found(place)["bundle"][0] == "wrong"


def test_the_command_ends_with_2_where_tandem_cannot_work(tmp_path: Path) -> None:
    place = Workspace(tmp_path / "w")
    place.root.mkdir()
    place.write_origin(Origin("made up", True, "0", 10, 2))
    (place.bundles / "current").mkdir(parents=True)
    answer = CliRunner().invoke(app, ["doctor", "-w", str(place.root), "--json", str(tmp_path / "f.json")])
    assert answer.exit_code == 2 and "is not a bundle" in answer.output.replace("\n", " ")
    findings = json.loads((tmp_path / "f.json").read_text())["figures"]["findings"]
    assert {"name": "Python", "state": "well"}.items() <= findings[0].items()


def test_a_checkout_that_was_not_installed_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tandem.doctor, "DISTRIBUTION", "no-such-distribution")
    assert found()["packages"] == ("wrong", "no-such-distribution itself is not installed: make install")
