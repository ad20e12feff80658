"""`tandem gateway check`: one sentence for each part that would keep a gateway from starting or from serving well."""

import hashlib
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from data.workspace import Workspace
from gateway.banner.runtime import Runtime
from gateway.server import check
from gateway.server.check import check_gateway
from gateway.settings.reading import read_gateway_settings
from tests.support.gateway.certificates import Authority
from tests.support.gateway.gateway_process import free_port
from tests.support.gateway.stand_ins import make_bundle, stand_in_runtime


@pytest.fixture()
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    files = Workspace(tmp_path / "w")
    files.root.mkdir()
    make_bundle(files)
    monkeypatch.setattr(Runtime, "load", staticmethod(stand_in_runtime))
    return files


def _found(workspace: Workspace, **options: object) -> dict[str, str]:
    told = {"workspace": str(workspace.root), "port": free_port(), **options}
    found = check_gateway(read_gateway_settings(None, told, {}))
    assert not [one for one in found.values() if "\n" in one]
    return {part: sentence for part, sentence in found.items() if sentence}


def test_a_gateway_that_would_start_gets_no_sentence(workspace: Workspace) -> None:
    assert _found(workspace, **{"http.port": free_port(), "metrics.port": free_port()}) == {}


def test_each_part_that_is_wrong_gets_its_sentence(workspace: Workspace, tmp_path: Path) -> None:
    populations = tmp_path / "populations.yaml"
    populations.write_text("experiment: e\nsalt: s\npopulations: {A: {share: 1.0, sources: [gbo, lde]}}\n")
    certificate, _ = Authority(tmp_path / "ca").sign("one")
    _, key = Authority(tmp_path / "other").sign("two")
    token = {"sha256": hashlib.sha256(b"x").hexdigest()}
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        found = _found(
            workspace,
            populations=str(populations),
            tls={"certificate": str(certificate), "key": str(key)},
            tokens={"a": token, "b": token},
            **{"metrics.port": taken.getsockname()[1]},
        )
    assert set(found) == {"bundle and populations", "ports", "tokens", "certificates"}
    assert "populations.A.sources: expected some of cbo, gbo, led, found 'lde'" in found["bundle and populations"]
    assert found["ports"].startswith("metrics: ") and "expected a free port" in found["ports"]
    assert found["tokens"] == "tokens.b: expected a token of its own, found that of a"
    assert "expected PEM files" in found["certificates"]
    assert "expected tokens" in _found(workspace, host="0.0.0.0")["tokens"]


def test_rules_that_need_timelines_are_found_as_a_start_would(workspace: Workspace, tmp_path: Path) -> None:
    populations = tmp_path / "populations.yaml"
    populations.write_text(
        "experiment: e\nsalt: s\nrules: {cap: {shown: 3, days: 1}}\npopulations: {A: {share: 1.0, sources: [gbo]}}\n"
    )
    found = _found(workspace, populations=str(populations))
    assert "populations.A.rules.cap asks what users were shown" in found["bundle and populations"]
    assert _found(workspace, populations=str(populations), **{"timelines.store": "embedded"}) == {}


def test_two_ports_that_are_one_are_found(workspace: Workspace) -> None:
    port = free_port()
    assert "expected a free port" in _found(workspace, port=port, **{"http.port": port})["ports"]


def test_a_disk_that_is_full_or_cannot_be_written_is_said(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check, "FREE_GIB", 1e9)
    assert "GiB free for the log" in _found(workspace)["disk"]
    monkeypatch.setattr(check.tempfile, "TemporaryFile", lambda dir: (_ for _ in ()).throw(OSError("Read-only")))
    assert "expected a folder for the log that can be written" in _found(workspace)["disk"]


@pytest.mark.slow
def test_the_command_ends_with_code_2_and_a_line_for_each_part(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tandem", "gateway", "check", "-w", str(tmp_path), "--set", f"port={free_port()}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=os.environ | {"COLUMNS": "200"})
    assert done.returncode == 2 and "Traceback" not in done.stderr
    lines = dict(line.split(": ", 1) for line in done.stdout.splitlines())
    assert "is not a bundle" in lines["bundle and populations"] and lines["ports"] == "as it should be"
