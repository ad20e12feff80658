"""The writer's promises: what is acknowledged outlives its process, a full disk and a failed fsync."""

import errno
import multiprocessing
import os
import resource
import shutil
import signal
import threading
from pathlib import Path

import pytest

from data.eventlog import EventLogError, LogWriter, compact, read_tracked
from tests.support.log_records import logged_event, wal_files


def _write_until_killed(folder: Path, acknowledged: "multiprocessing.connection.Connection") -> None:
    writer = LogWriter(folder)
    for k in range(1_000_000):
        writer.append_tracked([logged_event(f"{k}")])
        acknowledged.send(k)


def test_kill_9_of_the_writer_loses_no_acknowledged_event(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    receive, send = context.Pipe(duplex=False)
    process = context.Process(target=_write_until_killed, args=(tmp_path, send))
    process.start()
    while (last := receive.recv()) < 50:
        pass
    os.kill(process.pid, signal.SIGKILL)  # type: ignore[arg-type]
    process.join()
    send.close()
    try:
        while True:
            last = receive.recv()
    except EOFError:
        pass
    for _ in range(2):
        found = {int(one) for one in read_tracked(tmp_path)["event_id"].to_pylist()}
        assert set(range(last + 1)) <= found <= set(range(last + 2))
        assert compact(tmp_path).in_use == 0


def test_callers_that_wait_together_share_an_fsync_and_lose_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    syncs = []
    real = os.fsync

    def slow(descriptor: int) -> None:
        syncs.append(descriptor)
        threading.Event().wait(0.005)
        real(descriptor)

    writer = LogWriter(tmp_path, rotate_bytes=4_000)
    monkeypatch.setattr(os, "fsync", slow)

    def work(one: int) -> None:
        for k in range(10):
            writer.append_tracked([logged_event(f"{one}-{k}")])

    threads = [threading.Thread(target=work, args=(one,)) for one in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(syncs) < 100
    assert len(read_tracked(tmp_path)) == 160
    assert len(wal_files(tmp_path)) > 1  # it rotated meanwhile


def test_files_rotate_with_the_hour(tmp_path: Path) -> None:
    now = [0.0]
    writer = LogWriter(tmp_path, clock=lambda: now[0])
    writer.append_tracked([logged_event("a")])
    now[0] = 3600.0
    writer.append_tracked([logged_event("b")])
    writer.close()
    compact(tmp_path)
    assert sorted(path.parent.name for path in tmp_path.glob("tracked/*/*")) == ["19700101T00", "19700101T01"]


def test_a_full_disk_acknowledges_nothing_and_the_log_goes_on_once_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("data.eventlog.writer.RETRY_SECONDS", 0.0)
    writer = LogWriter(tmp_path)
    writer.append_tracked([logged_event("before")])
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200, hard))  # a file may hold 200 bytes: half of what follows
    try:
        with pytest.raises(EventLogError, match="File too large"):
            writer.append_tracked([logged_event(f"lost{k}") for k in range(20)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    writer.append_tracked([logged_event("after")])
    found = set(read_tracked(tmp_path)["event_id"].to_pylist())
    assert {"before", "after"} <= found


def test_a_failed_fsync_is_never_followed_by_an_acknowledgement_from_the_same_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = LogWriter(tmp_path)
    real = os.fsync

    def fail(descriptor: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(EventLogError, match="Input/output error"):
        writer.append_tracked([logged_event("a")])
    monkeypatch.setattr(os, "fsync", real)
    with pytest.raises(EventLogError, match="Input/output error"):
        writer.append_tracked([logged_event("a")])  # at once, without trying the disk again
    monkeypatch.setattr("data.eventlog.writer.RETRY_SECONDS", 0.0)
    writer._failed_until = 0.0
    assert writer.append_tracked([logged_event("a")]) == 1
    assert len(wal_files(tmp_path)) == 2
    assert read_tracked(tmp_path)["event_id"].to_pylist() == ["a"]


def test_an_event_whose_file_is_deleted_before_it_is_on_disk_is_not_acknowledged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = LogWriter(tmp_path)
    real = os.fsync

    def after_deletion(descriptor: int) -> None:
        shutil.rmtree(tmp_path / "wal")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", after_deletion)
    with pytest.raises(EventLogError, match="found that the file was deleted"):
        writer.append_tracked([logged_event("a")])
    monkeypatch.setattr(os, "fsync", real)
    writer._failed_until = 0.0
    assert writer.append_tracked([logged_event("a")]) == 1
    assert read_tracked(tmp_path)["event_id"].to_pylist() == ["a"]


def test_a_log_folder_that_cannot_be_written_is_said_at_once(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("a file where a folder should be")
    with pytest.raises(EventLogError, match="expected to write the event log there"):
        LogWriter(tmp_path / "log")
