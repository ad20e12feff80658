"""A store is filled from the log and from imports: each event once, whatever dies meanwhile."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data.errors import DataError
from data.eventlog import LogWriter, compact
from data.schema import EVENT_SCHEMA
from gateway.timelines.embedded import EmbeddedTimelines
from gateway.timelines.filling import follower_of, import_events
from gateway.timelines.store import Bounds, Seen, TimelineError
from tests.support.log_records import NOON, logged_display, logged_event

BOUNDS = Bounds(events=1_000)


def store_at(path: Path) -> EmbeddedTimelines:
    return EmbeddedTimelines(path, BOUNDS, clock=lambda: NOON + 1)


def test_what_the_log_takes_is_remembered_once_across_restarts_and_compactions(tmp_path: Path) -> None:
    writer, store = LogWriter(tmp_path / "log"), store_at(tmp_path / "t.sqlite")
    follower = follower_of(store, tmp_path / "log")
    writer.append_display(logged_display("d1"))
    writer.append_tracked([logged_event("e1", item_id="i1"), logged_event("e2", kind=3, item_id="i9")])
    assert follower.step() == 3 and follower.step() == 0
    writer.append_tracked([logged_event("e1", item_id="i1", ts_us=NOON - 5)])
    writer.close()
    compact(tmp_path / "log")
    again = follower_of(store_at(tmp_path / "t.sqlite"), tmp_path / "log")
    again.run(lambda: False, once=True)
    assert sorted(store.history("u").item_ids) == ["i1", "i9"]
    assert store.seen("u", 0) == {"i1": Seen(1, 1, NOON), "i2": Seen(1, 0, NOON)}


def test_a_store_that_fails_is_filled_from_where_it_stood_once_it_is_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer, store = LogWriter(tmp_path / "log"), store_at(tmp_path / "t.sqlite")
    follower = follower_of(store, tmp_path / "log")
    writer.append_tracked([logged_event("e1", item_id="i1")])
    with monkeypatch.context() as away:
        away.setattr(store, "record", lambda *_: (_ for _ in ()).throw(TimelineError("the store is away")))
        with pytest.raises(TimelineError, match="away"):
            follower.step()
    assert follower.step() == 1 and list(store.history("u").item_ids) == ["i1"]


def test_a_store_that_was_deleted_is_filled_from_the_whole_log(tmp_path: Path) -> None:
    writer = LogWriter(tmp_path / "log")
    writer.append_tracked([logged_event(f"e{k}") for k in range(3)])
    follower_of(store_at(tmp_path / "one.sqlite"), tmp_path / "log").step()
    fresh = store_at(tmp_path / "other.sqlite")
    assert follower_of(fresh, tmp_path / "log").step() == 3 and len(fresh.history("u").item_ids) == 3


def test_imports_are_counted_and_nothing_is_taken_twice(tmp_path: Path) -> None:
    days = [0, 1, 400]
    rows = [
        {
            "event_id": f"e{k}",
            "ts": NOON - day * 86_400_000_000,
            "user_id": "u",
            "kind": "sale" if k else "view",
            "item_id": f"i{k}",
            "merchant_id": "m",
            "country": "FR",
        }
        for k, day in enumerate(days)
    ]
    columns = {name: [row.get(name) for row in rows] for name in EVENT_SCHEMA.names}
    pq.write_table(pa.table(columns).cast(EVENT_SCHEMA), tmp_path / "events.parquet")
    store = store_at(tmp_path / "t.sqlite")
    for _ in range(2):
        assert import_events(store, tmp_path / "events.parquet", NOON - 90 * 86_400_000_000) == (2, 1)
    found = store.history("u")
    assert list(found.item_ids) == ["i1", "i0"] and list(found.kinds) == [3, 0]
    (tmp_path / "other.parquet").write_bytes(b"no parquet")
    with pytest.raises(DataError, match=r"other\.parquet: expected a Parquet file with columns event_id"):
        import_events(store, tmp_path / "other.parquet", 0)
