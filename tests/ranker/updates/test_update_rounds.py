"""Updates by a process that runs for months: it ends between rounds, and a kill leaves nothing half-written."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from data.bundle import Bundle
from data.workspace import Workspace
from tests.support.logged_shop import make_workspace, show, versions
from tests.support.shop import Shop


@pytest.fixture
def workspace(shop: Shop, compiled_once: None, trained: tuple[Path, dict], tmp_path: Path) -> Workspace:
    made = make_workspace(tmp_path / "w", shop, trained[0])
    show(made, shop, 600)
    return made


def updater(workspace: Workspace, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tandem", "ranker", "update", "-w", str(workspace.root), "--wait", "0"]
    return subprocess.Popen(
        [*command, "--minimum", "100", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"COLUMNS": "1000"},
    )


def wait_until(holds, process: subprocess.Popen[str], seconds: float = 60) -> None:  # type: ignore[no-untyped-def]
    ends = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < ends and process.poll() is None, process.communicate()[0]
        time.sleep(0.002)


def drafts(workspace: Workspace) -> list[Path]:
    return list(workspace.bundles.glob(".draft-*"))


@pytest.mark.slow
def test_kill_9_at_any_moment_of_an_update_leaves_whole_bundles_and_the_next_one_tidies_up(
    workspace: Workspace,
) -> None:
    on_disk = versions(workspace)
    moments = {
        "as it writes the tables": lambda: any((one / "ranker" / "tables").exists() for one in drafts(workspace)),
        "as it seals": lambda: any((one / "ranker" / "log_position.json").exists() for one in drafts(workspace)),
    }
    for moment, reached in moments.items():
        process = updater(workspace, "--force")
        wait_until(reached, process)
        process.kill()
        process.communicate()
        whole = versions(workspace)
        assert set(on_disk) <= set(whole) and workspace.current.resolve().name in whole, moment
    process = updater(workspace, "--force", "--minimum", 1)
    said = process.communicate()[0]
    assert process.returncode in (0, 2), said  # 2: a killed one had published already, and there is nothing new
    assert drafts(workspace) == []
    assert Bundle.open(workspace.current).has("ranker")


@pytest.mark.slow
def test_rounds_update_while_displays_come_in_and_a_signal_ends_them_between_two(
    workspace: Workspace, shop: Shop, tmp_path: Path
) -> None:
    figures = tmp_path / "figures.json"
    process = updater(workspace, "--every", 0.02, "--force", "--json", figures)
    first = workspace.current.resolve()
    wait_until(lambda: workspace.current.resolve() != first, process)
    second = workspace.current.resolve()
    turned_away = updater(workspace)
    said = turned_away.communicate()[0]
    assert turned_away.returncode == 2 and f"process {process.pid} already updates the ranker" in said
    show(workspace, shop, 300, first=600)
    wait_until(lambda: workspace.current.resolve() != second, process)
    process.send_signal(signal.SIGTERM)
    said = process.communicate(timeout=60)[0]
    assert process.returncode == 0, said
    assert f"round 1: bundle {second.name} is in service" in said and "displays were logged since bundle" in said
    assert "stopped after" in said and said.count("is in service") == 2
    assert json.loads(figures.read_text())["figures"]["bundle"] == workspace.current.resolve().name
    assert len(versions(workspace)) == 3 and drafts(workspace) == []


@pytest.mark.slow
def test_a_pause_ends_at_once_and_a_failed_round_is_said_and_does_not_end_the_loop(workspace: Workspace) -> None:
    segment = next((workspace.log / "wal").glob("*.wal"))
    content = bytearray(segment.read_bytes())
    content[len(content) // 2] ^= 1
    segment.write_bytes(content)
    process = updater(workspace, "--every", 60)
    assert process.stdout is not None
    lines = [process.stdout.readline()]
    while "round 1 failed" not in lines[-1]:
        assert lines[-1], lines
        lines.append(process.stdout.readline())
    assert "they fit no checksum" in lines[-1]
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=20)
    assert process.returncode == 0 and time.monotonic() - began < 10
