"""Whoever follows the log gets each record once: while it is written, after compaction, a kill, damage, odd clocks."""

import os
import random
from pathlib import Path

import pytest

from data.errors import DataError
from data.eventlog import LogWriter, compact
from data.eventlog.tail import LogCursor, LogTail, NewRows, cursor_file, unread
from tests.support.log_records import logged_display, logged_event, wal_files


def names_of(rows: NewRows) -> list[str]:
    return [*rows.displays["display_id"].to_pylist(), *rows.tracked["event_id"].to_pylist()]


def test_records_come_as_they_are_written_each_once(tmp_path: Path) -> None:
    writer, tail = LogWriter(tmp_path), LogTail(tmp_path)
    assert len(tail.read()) == 0
    writer.append_display(logged_display("d1"))
    assert names_of(tail.read()) == ["d1"]
    assert len(tail.read()) == 0
    writer.append_tracked([logged_event("e1"), logged_event("e2"), logged_event("e1")])
    writer.append_display(logged_display("d1"))
    assert names_of(tail.read()) == ["e1", "e2"]


def test_half_a_record_is_waited_for(tmp_path: Path) -> None:
    writer, tail = LogWriter(tmp_path), LogTail(tmp_path)
    writer.append_display(logged_display("d1"))
    (file,) = wal_files(tmp_path)
    whole = file.read_bytes()
    file.write_bytes(whole[:-5])
    assert len(tail.read()) == 0
    file.write_bytes(whole)
    assert names_of(tail.read()) == ["d1"]


def test_a_record_larger_than_what_is_read_at_once_comes_whole(tmp_path: Path) -> None:
    writer, tail = LogWriter(tmp_path), LogTail(tmp_path)
    large = logged_display("large")
    large.user_id = "u" * 9_000_000
    for one in (logged_display("d1"), large, logged_display("d2")):
        writer.append_display(one)
    assert names_of(tail.read()) == ["d1", "large", "d2"]


@pytest.mark.parametrize("seed", range(4))
def test_however_writing_reading_compacting_and_restarting_alternate_nothing_is_missed_or_doubled(
    tmp_path: Path, seed: int
) -> None:
    dice = random.Random(seed)
    written: list[str] = []
    read: list[str] = []
    writers = [LogWriter(tmp_path, rotate_bytes=2_000) for _ in range(2)]
    tail, cursor = LogTail(tmp_path), ""
    for step in range(150):
        what = dice.choice(["write", "write", "write", "track", "read", "read", "compact", "restart", "close"])
        name = f"{what}{step}"
        place = dice.randrange(2)
        if what == "write":
            writers[place].append_display(logged_display(name))
            written.append(name)
        elif what == "track":
            writers[place].append_tracked([logged_event(name), logged_event(f"{name}+")])
            written += [name, f"{name}+"]
        elif what == "read":
            found = tail.read(most=dice.choice([1, 3, 5_000]))
            cursor = found.cursor.dumps()
            read += names_of(found)
        elif what == "compact":
            compact(tmp_path)
        elif what == "restart":
            tail = LogTail(tmp_path, LogCursor.loads(cursor))
        else:
            writers[place].close()
            writers[place] = LogWriter(tmp_path, rotate_bytes=2_000)
    tail = LogTail(tmp_path, LogCursor.loads(cursor))
    while len(found := tail.read()):
        read += names_of(found)
    assert sorted(read) == sorted(written)


def test_what_was_read_but_not_kept_comes_again(tmp_path: Path) -> None:
    writer = LogWriter(tmp_path)
    writer.append_tracked([logged_event("e1")])
    kept = LogTail(tmp_path).read().cursor.dumps()
    writer.append_tracked([logged_event("e2")])
    for _ in range(2):
        assert names_of(LogTail(tmp_path, LogCursor.loads(kept)).read()) == ["e2"]


def test_damage_is_passed_over_and_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    writer = LogWriter(tmp_path)
    for name in ("d1", "d2", "d3"):
        writer.append_display(logged_display(name))
    (file,) = wal_files(tmp_path)
    content = bytearray(file.read_bytes())
    content[content.index(b"d2") + 3] ^= 1
    file.write_bytes(content)
    tail = LogTail(tmp_path)
    assert names_of(tail.read()) == ["d1", "d3"]
    assert len(tail.read()) == 0 and len(caplog.records) == 1
    writer.close()
    compact(tmp_path, salvage=True)
    assert len(tail.read()) == 0


def test_files_of_long_ago_are_left_behind_and_a_clock_that_ran_ahead_hides_nothing(tmp_path: Path) -> None:
    now = [1_790_000_000.0]
    for days, name in enumerate(("first", "second", "third", "fourth")):
        writer = LogWriter(tmp_path, clock=lambda: now[0])
        writer.append_display(logged_display(name))
        writer.close()
        compact(tmp_path)
        now[0] += 86_400 * (days + 1)
    ahead = LogTail(tmp_path, clock=lambda: now[0] + 1e9)
    cursor = ahead.read().cursor
    assert not cursor.taken and cursor.before > "2050"
    writer = LogWriter(tmp_path, clock=lambda: now[0])
    writer.append_display(logged_display("after"))
    writer.close()
    compact(tmp_path)
    later = LogTail(tmp_path, LogCursor.loads(cursor.dumps()), clock=lambda: now[0])
    assert "after" in names_of(later.read())
    cursor = later.read().cursor
    assert len(cursor.taken) == 1 and cursor.before < "2030"
    assert len(LogTail(tmp_path, cursor, clock=lambda: now[0]).read()) == 0


def test_a_cursor_that_is_none_is_refused() -> None:
    for text in ("{", "[]", '{"before": 1}', '{"taken": {"f": [1]}}'):
        with pytest.raises(DataError, match=r"expected a cursor in the log"):
            LogCursor.loads(text)


def test_who_has_not_read_a_file_is_known_so_that_it_is_not_deleted(tmp_path: Path) -> None:
    writer = LogWriter(tmp_path)
    writer.append_tracked([logged_event("e1")])
    tail = LogTail(tmp_path)
    path = cursor_file(tmp_path, "kafka")
    path.parent.mkdir()
    path.write_text(tail.read().cursor.dumps())
    writer.append_display(logged_display("d1"))
    writer.close()
    (file,) = wal_files(tmp_path)
    compact(tmp_path)
    assert unread(tmp_path, file.stem) == ["kafka"]
    path.write_text(tail.read().cursor.dumps())
    assert unread(tmp_path, file.stem) == []


def test_a_file_whose_name_came_in_the_same_tick_as_anothers_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("data.eventlog.tail._TICK_NS", 10**12)  # however slow this machine is
    first, tail = LogWriter(tmp_path), LogTail(tmp_path)
    first.append_display(logged_display("d1"))
    assert names_of(tail.read()) == ["d1"]
    seen = (tmp_path / "wal").stat()
    LogWriter(tmp_path).append_display(logged_display("d2"))
    os.utime(tmp_path / "wal", ns=(seen.st_atime_ns, seen.st_mtime_ns))
    assert names_of(tail.read()) == ["d2"]


def test_ids_of_files_that_are_wholly_read_are_not_kept(tmp_path: Path) -> None:
    writer, tail = LogWriter(tmp_path), LogTail(tmp_path)
    writer.append_display(logged_display("d1"))
    tail.read()
    writer.close()
    compact(tmp_path)
    assert len(tail.read()) == 0
    assert [ids for file in tail._files.values() for ids in file._ids.values() if ids] == []
