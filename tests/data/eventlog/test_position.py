"""Reading on from a position in the log: every display once, whatever happens to its file meanwhile."""

import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.errors import DataError
from data.eventlog import (
    EventLogError,
    LoggedDisplays,
    LogPosition,
    LogWriter,
    compact,
    read_displays,
    read_displays_after,
    read_ledger,
)
from proto.tandem.v1.log_pb2 import DisplayRecord
from proto.tandem.v1.tandem_pb2 import TrackedEvent

NOON = 1_790_000_000
HOUR = 3_600


def show(writer: LogWriter, name: str, ts: int = NOON) -> None:
    writer.append_display(DisplayRecord(display_id=name, ts_us=ts * 1_000_000, user_id="u", merchant_id="m"))


def ids(displays: LoggedDisplays) -> list[str]:
    return displays.table["display_id"].to_pylist()


@settings(max_examples=40, deadline=None)
@given(
    steps=st.lists(
        st.one_of(
            st.tuples(st.just("show"), st.integers(0, 2), st.integers(0, 50)),
            st.tuples(st.just("read"), st.floats(0, 1), st.just(0)),
            st.tuples(st.just("close"), st.integers(0, 2), st.just(0)),
            st.tuples(st.just("compact"), st.just(0), st.just(0)),
            st.tuples(st.just("days"), st.integers(1, 80), st.just(0)),
            st.tuples(st.just("jump"), st.sampled_from([-NOON, -600 * HOUR, 600_000 * HOUR]), st.just(0)),
        ),
        max_size=40,
    )
)
def test_every_display_is_taken_once_by_a_reader_that_stops_anywhere(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple]
) -> None:
    """Three writers whose clocks disagree, closing, compaction, days passing and clocks that jump, in any order."""
    folder = tmp_path_factory.mktemp("log")
    clock = [float(NOON)]
    writers = [LogWriter(folder, clock=lambda: clock[0]) for _ in range(3)]
    shown: list[str] = []
    taken: list[str] = []
    position = LogPosition()

    def read(share: float) -> None:
        nonlocal position
        found = read_displays_after(folder, LogPosition.of_json(position.to_json()))
        count = round(share * len(found))
        assert not found.beyond(found.position_after(count))[:count].any()
        assert found.beyond(found.position_after(count))[count:].all()
        assert found.beyond(position).all()
        taken.extend(ids(found)[:count])
        position = found.position_after(count)

    for kind, value, ts in steps:
        if kind == "show":
            shown.append(f"d{len(shown)}")
            show(writers[value], shown[-1], NOON + ts)
        elif kind == "read":
            read(value)
        elif kind == "close":
            writers[value].close()
        elif kind == "compact":
            compact(folder)
        elif kind == "jump":
            clock[0] = max(clock[0] + value, 0.0)
        else:
            clock[0] += value * HOUR
    read(1.0)
    assert sorted(taken) == sorted(shown)
    assert len(read_displays_after(folder, position)) == 0
    for writer in writers:
        writer.close()
    shutil.rmtree(folder)


def test_displays_come_in_order_of_time_but_never_out_of_their_files_order(tmp_path: Path) -> None:
    one, two = LogWriter(tmp_path), LogWriter(tmp_path)
    for name, ts in (("a", 1), ("b", 9), ("c", 5)):  # the third came later although it names an earlier time
        show(one, name, ts)
    for name, ts in (("x", 2), ("y", 7), ("z", 10)):
        show(two, name, ts)
    found = read_displays_after(tmp_path)
    assert ids(found) == ["a", "x", "y", "b", "c", "z"]
    assert (found.moment // 1_000_000).tolist() == [1, 2, 7, 9, 9, 10]
    assert ids(found.before(9_000_000)) == ["a", "x", "y", "b", "c"]
    assert ids(read_displays_after(tmp_path, found.position_after(4))) == ["c", "z"]
    one.close(), two.close()


def test_a_long_read_log_is_not_listed_file_by_file(tmp_path: Path) -> None:
    clock = [float(NOON)]
    writer = LogWriter(tmp_path, clock=lambda: clock[0])
    for hour in range(200):
        show(writer, f"d{hour}", NOON + hour * HOUR)
        clock[0] += HOUR
    writer.close()
    compact(tmp_path)
    found = read_displays_after(tmp_path)
    assert len(found.position_after(200).taken) == 0
    assert len(found.position_after(100).taken) == 0, "what was read is told by its number in the ledger"
    assert ids(read_displays_after(tmp_path, found.position_after(100))) == [f"d{k}" for k in range(100, 200)]


@pytest.mark.parametrize("then", [4_070_908_800, 86_400])
def test_a_clock_that_jumped_hides_nothing_that_came_later(tmp_path: Path, then: int) -> None:
    """To 2099, or back to 1970, and then right again."""
    clock, taken, position = [float(NOON)], list[str](), LogPosition()
    for name, now in (("before", NOON), ("while", then), ("after", NOON + 1), ("later", NOON + 100 * HOUR)):
        clock[0] = now
        writer = LogWriter(tmp_path, clock=lambda: clock[0])
        show(writer, name, now)
        writer.close()
        compact(tmp_path)
        found = read_displays_after(tmp_path, position)
        taken += ids(found)
        position = found.position_after(len(found))
        assert not position.taken
    assert taken == ["before", "while", "after", "later"]


def test_a_position_of_an_earlier_version_is_read_on_from(tmp_path: Path) -> None:
    clock = [float(NOON)]
    for name in ("old", "new"):
        writer = LogWriter(tmp_path, clock=lambda: clock[0])
        show(writer, name)
        writer.close()
        compact(tmp_path)
        clock[0] += 100 * HOUR
    old, new = read_ledger(tmp_path).entries
    found = read_displays_after(tmp_path, LogPosition.of_json({"before": new.name[:11], "taken": {}}))
    assert ids(found) == ["new"] and old.name < new.name
    (tmp_path / "ledger.jsonl").unlink()  # as an earlier version left the log
    assert ids(read_displays_after(tmp_path, LogPosition.of_json({"before": new.name[:11], "taken": {}}))) == ["new"]
    compact(tmp_path)
    assert read_ledger(tmp_path).entries == (old, new)


def test_an_empty_log_is_no_displays_and_tracked_events_are_none(tmp_path: Path) -> None:
    assert len(read_displays_after(tmp_path / "nowhere")) == 0
    writer = LogWriter(tmp_path)
    writer.append_tracked([TrackedEvent(event_id="e", ts_us=1, user_id="u", item_id="i", merchant_id="m")])
    found = read_displays_after(tmp_path)
    assert len(found) == 0 and len(found.position_after(0).taken) == 0
    writer.close()


def test_a_table_of_displays_is_read_as_a_log_of_its_own(tmp_path: Path) -> None:
    writer = LogWriter(tmp_path)
    for name, ts in (("a", 3), ("b", 1), ("c", 2)):
        show(writer, name, ts)
    writer.close()
    found = LoggedDisplays.of_table(read_displays(tmp_path))
    assert ids(found) == ["b", "c", "a"] and ids(found.first(2)) == ["b", "c"]


@pytest.mark.parametrize("wrong", [None, {}, [], {"before": 1, "taken": {}}, {"before": "", "taken": {"f": -1}}])
def test_what_is_no_position_is_refused(wrong: object) -> None:
    with pytest.raises(DataError, match="expected a position in the log"):
        LogPosition.of_json(wrong)


def test_a_damaged_segment_is_named(tmp_path: Path) -> None:
    writer = LogWriter(tmp_path)
    show(writer, "d")
    writer.close()
    compact(tmp_path)
    (segment,) = tmp_path.glob("displays/*/*.parquet")
    segment.write_bytes(segment.read_bytes()[:-20])
    with pytest.raises(EventLogError, match=segment.name):
        read_displays_after(tmp_path)
