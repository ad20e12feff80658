"""Writes in the background: one that hangs holds nobody, one that fails is told."""

import fcntl
import os
import resource
import threading
import time
from pathlib import Path

import pytest

from data.eventlog import EventLogError, LogWriter, compact, read_displays, read_tracked
from data.eventlog.background import AVAILABLE, BackgroundWrite
from data.eventlog.writer import RecordsWrite
from gateway.log.display_log import DisplayLog, LateLogError, _Job
from proto.tandem.v1.log_pb2 import LogRecord
from tests.support.log_records import logged_display, logged_event, wal_files

pytestmark = pytest.mark.skipif(not AVAILABLE, reason="this system has no such writes")


def record(name: str) -> bytes:
    return LogRecord(display=logged_display(name)).SerializeToString()


def begun(writer: LogWriter, name: str) -> RecordsWrite:
    found = writer.begin_records([record(name)])
    assert found is not None
    return found


def written(writer: LogWriter, name: str) -> bool:
    found = begun(writer, name)
    assert found.wait(10)
    return found.finish()


def full_pipe() -> tuple[int, int]:
    """(reading end, writing end): a write to it hangs until somebody reads."""
    reading, writing = os.pipe()
    size = fcntl.fcntl(writing, fcntl.F_GETPIPE_SZ)
    os.write(writing, bytes(size))
    return reading, writing


def test_what_was_written_in_the_background_is_in_the_log_in_order_and_beside_tracked_events(tmp_path: Path) -> None:
    writer = LogWriter(tmp_path)
    for k in range(20):
        assert written(writer, f"d{k}")
        writer.append_tracked([logged_event(f"e{k}")])
    assert set(read_displays(tmp_path)["display_id"].to_pylist()) == {f"d{k}" for k in range(20)}
    assert len(read_tracked(tmp_path)) == 20 and len(wal_files(tmp_path)) == 1


def test_a_write_that_hangs_is_waited_for_no_longer_than_the_limit_and_ends_once_it_can() -> None:
    reading, writing = full_pipe()
    hanging = BackgroundWrite(writing, b"at last")
    began = time.perf_counter()
    assert not hanging.wait(0.05)
    assert time.perf_counter() - began < 5
    assert not hanging.wait(0)
    told = b""
    while not hanging.wait(0.01):
        told += os.read(reading, 4096)
    hanging.finish()
    os.close(writing)
    while found := os.read(reading, 4096):
        told += found
    assert told.strip(b"\0") == b"at last"


def test_displays_of_a_log_that_hangs_in_the_background_are_late_and_then_logged_again(tmp_path: Path) -> None:
    writer = LogWriter(tmp_path)
    log, (reading, writing) = DisplayLog(writer, 0.05), full_pipe()
    file = writer._file
    assert file is not None
    descriptor, file.descriptor = file.descriptor, writing
    for _ in range(3):
        with pytest.raises(LateLogError):
            log.write([record("late")])
    waiting = threading.Thread(target=writer.append_tracked, args=([logged_event("waits")],))
    file.descriptor = descriptor
    waiting.start()  # not between the bytes of what hangs
    time.sleep(0.05)
    assert waiting.is_alive()
    while waiting.is_alive():
        os.read(reading, 4096)
        waiting.join(0.01)
    log.write([record("again")])
    assert read_displays(tmp_path)["display_id"].to_pylist() == ["again"]
    assert read_tracked(tmp_path)["event_id"].to_pylist() == ["waits"]


def test_half_a_display_on_a_full_disk_is_told_and_another_file_follows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("data.eventlog.writer.RETRY_SECONDS", 0.0)
    writer = LogWriter(tmp_path)
    assert written(writer, "before")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (os.path.getsize(*wal_files(tmp_path)) + 20, hard))
    try:
        failing = begun(writer, "lost")
        assert failing.wait(10)
        with pytest.raises(EventLogError, match="expected to write the event log there"):
            failing.finish()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert writer.begin_records([record("not there")]) is None
    writer.append_records([record("after")])
    assert set(read_displays(tmp_path)["display_id"].to_pylist()) == {"before", "after"}
    writer.close()
    assert compact(tmp_path).damaged == []


def test_a_display_whose_file_was_deleted_is_written_into_another(tmp_path: Path) -> None:
    writer = LogWriter(tmp_path)
    wal_files(tmp_path)[0].unlink()
    DisplayLog(writer, 5).write([record("kept")])
    assert read_displays(tmp_path)["display_id"].to_pylist() == ["kept"]


def test_files_that_are_due_are_changed_by_whoever_may_wait(tmp_path: Path) -> None:
    now = [0.0]
    writer = LogWriter(tmp_path, rotate_bytes=1_000, clock=lambda: now[0])
    assert written(writer, "a")
    now[0] = 3600.0
    assert writer.begin_records([record("b")]) is None
    log = DisplayLog(writer, 5)
    for k in range(30):
        log.write([record(f"{k}")])
    assert len(wal_files(tmp_path)) > 2 and len(read_displays(tmp_path)) == 31


def test_a_display_is_written_once_though_its_file_is_changed_before_its_writer_looks(tmp_path: Path) -> None:
    now = [0.0]
    writer = LogWriter(tmp_path, clock=lambda: now[0])
    first = begun(writer, "once")
    assert first.wait(10)
    now[0] = 3600.0
    writer.flush()  # as happens once a second: the next hour's file
    assert len(wal_files(tmp_path)) == 2
    assert first.finish()


def test_what_hangs_in_the_background_is_not_taken_for_what_is_on_disk(tmp_path: Path) -> None:
    writer, (reading, writing) = LogWriter(tmp_path), full_pipe()
    writer.append_records([record("there")])
    file = writer._file
    assert file is not None
    end, descriptor = file.written, file.descriptor
    file.descriptor = writing
    hanging = begun(writer, "hangs")
    file.descriptor = descriptor
    writer._sync(file, end)
    assert file.synced == end < file.written
    while not hanging.wait(0.01):
        os.read(reading, 4096)


def test_displays_are_taken_again_however_many_writes_hung(tmp_path: Path) -> None:
    log = DisplayLog(LogWriter(tmp_path), 0.01)
    first, second = _Job([]), _Job([])
    log._hanging = [first, second]
    first.written.release()
    with pytest.raises(LateLogError):
        log.write([record("late")])
    second.written.release()
    log.write([record("again")])
    assert read_displays(tmp_path)["display_id"].to_pylist() == ["again"]
