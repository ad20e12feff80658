"""`check_log` finds every row that is missing, doubled or damaged, and says nothing of a log that is sound."""

import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from data.eventlog import LogTail, LogWriter, compact
from data.eventlog.checking import check_log
from data.eventlog.tail import cursor_file
from tests.support.log_records import logged_display, logged_event, wal_files


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Two compacted files, one closed and one being written; two followers, one of them behind."""
    for first in (0, 10):
        writer = LogWriter(tmp_path)
        for number in range(first, first + 3):
            writer.append_display(logged_display(f"d{number}"))
        writer.append_tracked([logged_event(f"c{first}", display_id=f"d{first}"), logged_event(f"s{first}", kind=3)])
        writer.close()
    compact(tmp_path)
    keep_cursor(tmp_path, "behind")
    for first in (20, 30):
        writer = LogWriter(tmp_path)
        writer.append_display(logged_display(f"d{first}"))
        writer.append_tracked([logged_event("c0", display_id="d0"), logged_event("c30", display_id="lost")])
        if first == 20:
            writer.close()
    keep_cursor(tmp_path, "kafka")
    return tmp_path


def keep_cursor(log: Path, name: str) -> None:
    path = cursor_file(log, name)
    path.parent.mkdir(exist_ok=True)
    path.write_text(LogTail(log).read().cursor.dumps())


def segments(log: Path, part: str) -> list[Path]:
    return sorted((log / part).glob("*/*.parquet"))


def test_a_sound_log_is_counted(log: Path) -> None:
    found = check_log(log)
    assert found.faults == []
    assert found.displays == 8 and found.events == {"view": 0, "click": 3, "landing": 0, "sale": 2}
    assert found.sent_twice == 3 and found.unshown == 2
    assert [file.state for file in found.files] == ["segments", "segments", "wal", "wal"]
    assert found.behind == {"behind": 6, "kafka": 0}
    assert check_log(log / "no log").faults == []


def test_a_segment_that_is_gone_is_missed(log: Path) -> None:
    segments(log, "displays")[0].unlink()
    found = check_log(log)
    assert any(".parquet: the ledger says 3 rows, found 0" in one for one in found.missing)
    assert any("kafka has taken 3 displays rows of it, found 0" in one for one in found.missing)


def test_a_segment_that_lost_rows_is_missed_and_one_that_gained_some_is_doubled(log: Path) -> None:
    for place, cut in ((0, slice(0, 1)), (1, slice(0, 3))):
        path = segments(log, "displays")[place]
        table = pq.read_table(path, partitioning=None)
        rows = table.slice(cut.start, cut.stop)
        pq.write_table(rows if place == 0 else pq.read_table(path, partitioning=None).take([0, 1, 2, 2]), path)
    found = check_log(log)
    assert any("the ledger says 3 rows, found 1" in one for one in found.missing)
    assert any("the ledger says 3 rows, found 4" in one for one in found.doubled)
    assert any("display d12 stands in" in one for one in found.doubled)


def test_a_display_in_two_files_is_doubled(log: Path) -> None:
    (copied, _) = wal_files(log)
    shutil.copy(copied, copied.with_name("20260921T14-1-1.wal"))
    found = check_log(log)
    assert any(one.startswith("display d20 stands in 20260921T14-1-1 and ") for one in found.doubled)


def test_segments_of_another_log_are_told(log: Path) -> None:
    path = segments(log, "tracked")[0]
    shutil.copy(path, path.with_name("20260921T14-1-1.parquet"))
    (path.parent / "20260921T14-1-1.parquet").rename(path.parent / f"{path.parent.name}-1-1.parquet")
    assert any("are not in the ledger" in one for one in check_log(log).doubled)


def test_flipped_bits_are_found_in_files_and_segments(log: Path) -> None:
    (file, _), segment = wal_files(log), segments(log, "displays")[0]
    for path, place in ((file, file.read_bytes().index(b"d20") + 1), (segment, 60)):
        content = bytearray(path.read_bytes())
        content[place] ^= 0x10
        path.write_bytes(content)
    found = check_log(log)
    assert any(str(file) in one and "fit no checksum" in one for one in found.damaged)
    assert any(str(segment) in one for one in found.damaged)


def test_a_file_that_ends_earlier_than_a_follower_has_read_is_missed(log: Path) -> None:
    (file, _) = wal_files(log)
    content = file.read_bytes()
    last = content.rindex(b"\xf0\xc0TR")
    file.write_bytes(content[:last])
    found = check_log(log)
    assert [one for one in found.missing if "kafka has taken 2 tracked rows of it, found 1" in one]


def test_half_a_record_of_a_crash_is_no_fault(log: Path) -> None:
    (file, _) = wal_files(log)
    with file.open("ab") as opened:
        opened.write(b"\xf0\xc0TR")
    found = check_log(log)
    assert not found.faults and sum(one.torn for one in found.files) == 4
