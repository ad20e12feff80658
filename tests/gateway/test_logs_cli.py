"""`tandem logs` and `tandem timelines` from the terminal: what they say, their figures, and their exit codes."""

import json
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from data.eventlog import LogWriter
from data.workspace import Workspace
from tandem.cli import main
from tests.support.log_records import logged_display, logged_event


@dataclass
class Ran:
    exit_code: int
    output: str


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., Ran]:
    """`tandem` with these arguments, in this process; its handlers of signals are put back."""

    def ran(*arguments: str) -> Ran:
        monkeypatch.setattr("sys.argv", ["tandem", *arguments])
        before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
        with pytest.raises(SystemExit) as ended:
            main()
        for number, handler in before.items():
            signal.signal(number, handler)
        out, err = capfd.readouterr()
        return Ran(int(ended.value.code or 0), " ".join((out + err).split()))

    return ran


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    now = time.time_ns() // 1000
    writer = LogWriter(Workspace(tmp_path).log)
    display = logged_display("d1")
    display.ts_us = now
    writer.append_display(display)
    writer.append_tracked(
        [logged_event("c1", display_id="d1", item_id="i1", ts_us=now), logged_event("s1", kind=3, ts_us=now)]
    )
    writer.close()
    return tmp_path


def test_a_sound_log_is_checked_with_exit_code_0_and_a_damaged_one_with_2(
    workspace: Path, run: Callable[..., Ran]
) -> None:
    figures = workspace / "check.json"
    ran = run("logs", "check", "-w", str(workspace), "--json", str(figures))
    assert ran.exit_code == 0 and "nothing is missing, nothing doubled, nothing damaged" in ran.output
    found = json.loads(figures.read_text())["figures"]
    assert found["sound"] and found["displays"] == 1 and found["events"]["click"] == 1
    (file,) = Workspace(workspace).log.glob("wal/*.wal")
    content = bytearray(file.read_bytes())
    content[content.index(b"d1")] ^= 1
    file.write_bytes(content)
    ran = run("logs", "check", "-w", str(workspace), "--json", str(figures))
    assert ran.exit_code == 2 and "fit no checksum" in ran.output
    assert not json.loads(figures.read_text())["figures"]["sound"]


def test_sending_without_brokers_is_refused_with_a_sentence(workspace: Path, run: Callable[..., Ran]) -> None:
    ran = run("logs", "send", "-w", str(workspace), "--once")
    assert ran.exit_code == 2 and "kafka.brokers: expected where Kafka is" in ran.output


def test_timelines_are_filled_shown_and_forgotten(workspace: Path, run: Callable[..., Ran]) -> None:
    at = ("-w", str(workspace))
    assert "3 rows of the log" in run("timelines", "follow", "--once", *at).output
    figures = workspace / "show.json"
    assert run("timelines", "show", "u", *at, "--json", str(figures)).exit_code == 0
    shown = json.loads(figures.read_text())["figures"]
    assert [one["kind"] for one in shown["events"]] == ["click", "sale"]
    assert shown["seen"]["i1"]["displays"] == 1 and shown["seen"]["i1"]["clicks"] == 1
    ran = run("timelines", "forget", "u", *at)
    assert "u: 2 events and 1 displays forgotten" in ran.output
    assert "0 rows of the log" in run("timelines", "follow", "--once", *at).output
    run("timelines", "show", "u", *at, "--json", str(figures))
    assert json.loads(figures.read_text())["figures"]["events"] == []
