"""The event log's promises: nothing acknowledged is lost, nothing is counted twice, damage is reported."""

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.eventlog import (
    EventLogError,
    LogWriter,
    compact,
    framing,
    logged_displays,
    read_displays,
    read_displays_after,
    read_ledger,
    read_tracked,
)
from data.eventlog import compaction as compaction_module
from data.eventlog.retention import remove_old_segments
from data.schema import DISPLAY_SCHEMA, EVENT_SCHEMA
from proto.tandem.v1.log_pb2 import LogRecord
from proto.tandem.v1.tandem_pb2 import SALE, VIEW
from tests.support.log_records import logged_display, logged_event, wal_files


@settings(max_examples=60, deadline=None)
@given(st.lists(st.binary(max_size=60), max_size=8), st.data())
def test_a_torn_file_yields_the_records_before_the_tear_and_reports_no_damage(
    payloads: list[bytes], data: st.DataObject
) -> None:
    frames = [framing.frame(payload) for payload in payloads]
    whole = framing.HEADER + b"".join(frames)
    cut = data.draw(st.integers(0, len(whole)))
    ends = np.cumsum([len(framing.HEADER), *map(len, frames)])
    found = framing.scan(whole[:cut])
    assert list(found.payloads) == payloads[: max(int((ends <= cut).sum()) - 1, 0)]
    assert found.damage == []


@settings(max_examples=80, deadline=None)
@given(st.lists(st.binary(max_size=40), min_size=2, max_size=6), st.data())
def test_one_flipped_bit_never_yields_a_wrong_record(payloads: list[bytes], data: st.DataObject) -> None:
    frames = [framing.frame(payload) for payload in payloads]
    content = bytearray(framing.HEADER + b"".join(frames))
    at = data.draw(st.integers(0, len(content) - 1))
    content[at] ^= 1 << data.draw(st.integers(0, 7))
    found = framing.scan(bytes(content))
    ends = np.cumsum([len(framing.HEADER), *map(len, frames)])
    hit = int(np.searchsorted(ends, at, side="right"))  # 0: the header, k: frame k - 1
    if hit == 0:
        assert list(found.payloads) == payloads and found.damage
    else:
        assert list(found.payloads) == payloads[: hit - 1] + payloads[hit:]
        assert found.damage and not found.torn  # in the last record too


@settings(max_examples=60, deadline=None)
@given(st.lists(st.binary(min_size=1, max_size=40), min_size=1, max_size=6), st.data())
def test_what_was_zeroed_is_damage_and_no_torn_tail(payloads: list[bytes], data: st.DataObject) -> None:
    frames = [framing.frame(payload) for payload in payloads]
    content = framing.HEADER + b"".join(frames)
    start = data.draw(st.integers(0, len(content) - 13))
    end = data.draw(st.one_of(st.just(len(content)), st.integers(start + 13, len(content))))
    found = framing.scan(content[:start] + bytes(end - start) + content[end:])
    assert found.damage and not found.torn
    assert set(found.payloads) <= set(payloads)


def test_an_empty_or_missing_log_reads_as_no_rows(tmp_path: Path) -> None:
    assert read_displays(tmp_path / "log").schema == DISPLAY_SCHEMA
    assert read_tracked(tmp_path / "log").schema == EVENT_SCHEMA
    assert len(read_displays(tmp_path / "log")) == len(read_tracked(tmp_path / "log")) == 0


def test_rows_are_the_same_before_and_after_compaction(tmp_path: Path) -> None:
    writer = LogWriter(tmp_path)
    writer.append_display(logged_display("d1"))
    assert (
        writer.append_tracked(
            [logged_event("e1", display_id="d1"), logged_event("e2", kind=SALE, order_id="o", order_value=9.5)]
        )
        == 2
    )
    before = read_displays(tmp_path), read_tracked(tmp_path)
    assert compact(tmp_path).in_use == 1  # the writer still holds its file
    writer.close()
    done = compact(tmp_path)
    assert (done.files, done.displays, done.tracked) == (1, 1, 2)
    assert wal_files(tmp_path) == []
    assert (read_displays(tmp_path), read_tracked(tmp_path)) == before
    slot = before[0].to_pylist()[0]["slots"][0]
    assert (slot["position"], slot["item_id"], slot["category"], slot["score"]) == (0, "i1", "a/b", 0.25)
    assert (slot["sources"], slot["dense"]) == (["gbo", "led"], [1.5, 2.0])
    assert before[0].to_pylist()[0]["stage_us"] == [("led", 412), ("rank", 300)]
    click, sale = before[1].to_pylist()
    assert (click["kind"], click["display_id"], click["order_id"], click["order_value"]) == ("click", "d1", None, None)
    assert (sale["kind"], sale["display_id"], sale["order_value"]) == ("sale", None, 9.5)


def test_a_log_of_before_rules_is_read_with_nothing_where_it_says_nothing(tmp_path: Path) -> None:
    """Its segments lack columns and a field of slots, and its views are 0."""
    writer = LogWriter(tmp_path)
    writer.append_display(logged_display("old"))
    writer.append_tracked([logged_event("v", kind=0), logged_event("w", kind=VIEW)])
    assert read_tracked(tmp_path)["kind"].to_pylist() == ["view", "view"]
    writer.close()
    compact(tmp_path)
    (path,) = (tmp_path / "displays").glob("*/*.parquet")
    rows = pq.ParquetFile(path).read().drop_columns(["surface", "policy", "rules"]).to_pylist()
    for slot in rows[0]["slots"]:
        del slot["propensity"], slot["shadow_score"]
    slots = DISPLAY_SCHEMA.field("slots").type.value_type
    before = pa.list_(pa.struct([field for field in slots if field.name not in ("propensity", "shadow_score")]))
    kept = [field for field in DISPLAY_SCHEMA if field.name not in ("surface", "policy", "rules")]
    schema = pa.schema([field.with_type(before) if field.name == "slots" else field for field in kept])
    pq.write_table(pa.Table.from_pylist(rows, schema), path)
    writer = LogWriter(tmp_path)
    writer.append_display(logged_display("new"))
    for table in (read_displays(tmp_path), read_displays_after(tmp_path).table):
        assert table.schema == DISPLAY_SCHEMA
        old, new = sorted(table.to_pylist(), key=lambda row: row["display_id"] == "new")
        assert (old["surface"], old["policy"], old["rules"]) == (None, None, None)
        assert (new["surface"], new["policy"], new["rules"]) == (
            "similar",
            "uniform e=0.5 among=2",
            ["cap: 1 left out"],
        )
        assert [slot["propensity"] for row in (old, new) for slot in row["slots"]] == [None, None, 0.75, None]
    for columns in (["surface"], ["slots.propensity"], ["rules", "slots.item_id", "slots.propensity"], ["slots"]):
        found = logged_displays(tmp_path).reader(*columns).read_all()
        assert len(found) == 2
        assert columns[0] not in ("slots", "slots.propensity") or [len(one) for one in found["slots"]] == [2, 2]


def test_an_event_sent_again_is_counted_once_across_files_and_segments(tmp_path: Path) -> None:
    first = LogWriter(tmp_path)
    first.append_tracked([logged_event("e1"), logged_event("e2")])
    first.close()
    compact(tmp_path)
    second, third = LogWriter(tmp_path), LogWriter(tmp_path)
    second.append_tracked([logged_event("e2"), logged_event("e3"), logged_event("e3")])
    third.append_tracked([logged_event("e1")])
    assert read_tracked(tmp_path)["event_id"].to_pylist() == ["e1", "e2", "e3"]


@pytest.mark.parametrize("step", ["replace", "unlink", "fsync"])
@pytest.mark.parametrize("survive", range(8))
def test_a_crash_at_any_step_of_compaction_loses_and_doubles_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, survive: int
) -> None:
    writer = LogWriter(tmp_path)
    writer.append_display(logged_display("d1"))
    writer.append_tracked([logged_event(f"e{k}") for k in range(5)])
    writer.close()
    real = getattr(os if step == "fsync" else Path, step)
    calls = iter(range(100))

    def crash(*args, **kwargs):  # type: ignore[no-untyped-def]
        if next(calls) >= survive:
            raise KeyboardInterrupt  # as a kill: no clean-up that catches errors runs
        return real(*args, **kwargs)

    with monkeypatch.context() as patch, contextlib.suppress(KeyboardInterrupt):
        patch.setattr(compaction_module.os if step == "fsync" else Path, step, crash)
        compact(tmp_path)
    for _ in range(2):
        assert read_displays(tmp_path)["display_id"].to_pylist() == ["d1"]
        assert read_tracked(tmp_path)["event_id"].to_pylist() == [f"e{k}" for k in range(5)]
        compact(tmp_path)
    assert wal_files(tmp_path) == [] and {path.name for path in tmp_path.rglob(".*")} <= {".compacting"}
    (entry,) = read_ledger(tmp_path).entries
    assert (entry.displays, entry.tracked) == (1, 5)


def test_records_of_unknown_kinds_are_counted_and_kept_aside_and_lose_no_others(tmp_path: Path) -> None:
    writer = LogWriter(tmp_path)
    later = LogRecord(tracked=logged_event("later", kind=99)).SerializeToString()
    strange = [b"\xfa\x3f\x01x", b"\xff"]  # field 127; no message at all
    writer.append_records([strange[0], LogRecord(display=logged_display("d")).SerializeToString(), later, strange[1]])
    writer.append_tracked([logged_event("a")])
    for _ in range(2):  # from the file, and from segments
        assert read_tracked(tmp_path)["event_id"].to_pylist() == ["a"]
        assert read_displays(tmp_path)["display_id"].to_pylist() == ["d"]
        if not (tmp_path / "unknown").exists():
            writer.close()
            done = compact(tmp_path)
            assert (done.displays, done.tracked, done.unknown) == (1, 1, 3)
    assert wal_files(tmp_path) == []
    (aside,) = (tmp_path / "unknown").glob("*.wal")
    assert list(framing.scan(aside.read_bytes()).payloads) == [strange[0], later, strange[1]]


def test_damage_in_the_middle_is_reported_kept_in_place_and_salvaged_on_demand(tmp_path: Path) -> None:
    writer = LogWriter(tmp_path)
    for k in range(3):
        writer.append_tracked([logged_event(f"e{k}")])
    writer.close()
    (path,) = wal_files(tmp_path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x10
    path.write_bytes(content)
    with pytest.raises(EventLogError, match=rf"{path.name}.*salvage"):
        read_tracked(tmp_path)
    done = compact(tmp_path)
    assert done.files == 0 and done.damaged == [path.name] and path.exists()
    assert compact(tmp_path, salvage=True).tracked == 2
    assert read_tracked(tmp_path)["event_id"].to_pylist() == ["e0", "e2"]
    assert (tmp_path / "damaged" / path.name).exists()


def test_half_a_line_of_the_ledger_is_cut_and_what_is_no_ledger_is_named(tmp_path: Path) -> None:
    for name in ("a", "b"):
        writer = LogWriter(tmp_path)
        writer.append_tracked([logged_event(name)])
        writer.close()
        compact(tmp_path)
        with (tmp_path / "ledger.jsonl").open("ab") as file:
            file.write(b'{"name": "hal')
    assert [entry.tracked for entry in read_ledger(tmp_path).entries] == [1, 1]
    with (tmp_path / "ledger.jsonl").open("ab") as file:
        file.write(b"\n")
    with pytest.raises(EventLogError, match=r"ledger.jsonl, line 4: expected an entry"):
        read_ledger(tmp_path)


def test_compaction_holds_few_messages_at_once(tmp_path: Path) -> None:
    """In a process of its own, whose memory is its own: 200,000 events took 230 MiB when all were messages at once."""
    writer = LogWriter(tmp_path)
    for k in range(100):
        writer.append_records(
            [LogRecord(tracked=logged_event(f"e{k}-{j}", display_id="d")).SerializeToString() for j in range(2_000)]
        )
    writer.close()
    script = (
        "import resource, sys; from pathlib import Path; from data.eventlog import compact; "
        "compact(Path('nowhere')); before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss; "
        "print(compact(Path(sys.argv[1])).tracked, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    said = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=True)
    tracked, kibibytes = map(int, said.stdout.split())
    assert tracked == 200_000 and kibibytes < 150 * 1024


def test_a_damaged_segment_is_named(tmp_path: Path) -> None:
    writer = LogWriter(tmp_path)
    writer.append_tracked([logged_event("e")])
    writer.close()
    compact(tmp_path)
    (segment,) = tmp_path.glob("tracked/*/*.parquet")
    segment.write_bytes(segment.read_bytes()[:-20])
    with pytest.raises(EventLogError, match=segment.name):
        read_tracked(tmp_path)


def test_a_flipped_bit_anywhere_in_a_segments_values_is_noticed(tmp_path: Path) -> None:
    writer = LogWriter(tmp_path)
    writer.append_tracked([logged_event(f"e{k}") for k in range(200)])
    writer.close()
    compact(tmp_path)
    (segment,) = tmp_path.glob("tracked/*/*.parquet")
    whole, before = segment.read_bytes(), read_tracked(tmp_path)
    start = whole.index(b"(\xb5/\xfd") + 4  # zstd's mark: the first page's values begin there
    for place in range(start, start + 200, 7):
        segment.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(EventLogError, match=segment.name) as caught:
            read_tracked(tmp_path)
        assert "\n" not in str(caught.value)
    segment.write_bytes(whole)
    assert read_tracked(tmp_path).equals(before)


def test_old_segments_go_once_every_follower_has_read_them_and_a_wrong_clock_takes_none_along(tmp_path: Path) -> None:
    day, now = 86_400.0, [1_790_000_000.0]

    def logged(name: str, at: float) -> None:
        writer = LogWriter(tmp_path, clock=lambda: at)
        writer.append_tracked([logged_event(name)])
        writer.close()
        compact(tmp_path)

    for name, at in (("old", -40 * day), ("of 1970", -now[0] + day), ("of 2099", 3e9), ("new", -1 * day)):
        logged(name, now[0] + at)
    cursor = tmp_path / "cursors" / "kafka.json"
    cursor.parent.mkdir()
    cursor.write_text("")
    assert remove_old_segments(tmp_path, 30, lambda: now[0]) == [], "somebody has not read them"
    cursor.unlink()
    gone = remove_old_segments(tmp_path, 30, lambda: now[0])
    assert len(gone) == 2 and read_ledger(tmp_path).removed == set(gone)
    assert sorted(read_tracked(tmp_path)["event_id"].to_pylist()) == ["new", "of 2099"]
    assert remove_old_segments(tmp_path, 30, lambda: now[0]) == []
