"""What both stages learn from: imported and tracked events through real files, each event once."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.errors import DataError
from data.eventlog import LogWriter, compact
from data.learning import EventCounts, learning_events, write_unclicked
from data.schema import CATALOG_SCHEMA, EVENT_KINDS, EVENT_SCHEMA
from data.tables import store
from data.workspace import Origin, Workspace
from proto.tandem.v1.log_pb2 import LoggedSlot
from tests.support.log_records import NOON, logged_display, logged_event

IDS = st.lists(st.integers(0, 25), max_size=20)


def workspace_with(root: Path, ids: list[int]) -> Workspace:
    """Imported views with these distinct ids, one a second."""
    same = {"user_id": "u", "kind": "view", "item_id": "i", "merchant_id": "m", "country": "FR"}
    rows = [{"event_id": f"e{one}", "ts": NOON + one * 1_000_000, **same} for one in ids]
    place = Workspace(root)
    catalog = CATALOG_SCHEMA.empty_table()
    store(place, pa.Table.from_pylist(rows, EVENT_SCHEMA), catalog, Origin("made up", False, "0", len(rows), 0))
    return place


def track(place: Workspace, ids: list[int], kind: str = "click") -> None:
    """Clicks through a file of the log of their own."""
    if ids:
        writer = LogWriter(place.log)
        code = EVENT_KINDS.index(kind)
        writer.append_tracked([logged_event(f"e{one}", kind=code, ts_us=NOON + one * 1_000_000) for one in ids])
        writer.close()


@settings(max_examples=8, deadline=None)
@given(imported=st.sets(st.integers(0, 25), min_size=1), logged=IDS, pending=IDS)
def test_every_event_is_learnt_from_once_and_counted(
    tmp_path_factory: pytest.TempPathFactory, imported: set[int], logged: list[int], pending: list[int]
) -> None:
    place = workspace_with(tmp_path_factory.mktemp("learning") / "w", sorted(imported))
    track(place, logged)
    compact(place.log)
    track(place, pending)
    found = learning_events(place, place.root / "gathered")
    table = found.table()
    assert table.schema == EVENT_SCHEMA
    kinds = dict(zip(table["event_id"].to_pylist(), table["kind"].to_pylist(), strict=True))
    expected = {f"e{one}": "click" for one in (*logged, *pending)} | {f"e{one}": "view" for one in imported}
    assert kinds == expected and len(table) == len(expected)
    new = len(expected) - len(imported)
    assert found.counts == EventCounts(len(imported), new, len(set(logged)) + len(pending) - new)
    assert len(found.files) == (2 if new else 1)


def test_what_was_shown_in_vain_is_every_pair_that_a_banner_showed_and_no_click_named(tmp_path: Path) -> None:
    place = workspace_with(tmp_path / "w", [1])
    assert write_unclicked(place, tmp_path / "none.parquet") == 0
    for name, items in (("d1", "abc"), ("d2", "bd"), ("d3", "a"), ("no banner", "xyz")):
        writer, display = LogWriter(place.log), logged_display(name)
        del display.slots[:]
        display.slots.extend(LoggedSlot(position=at, item_id=item) for at, item in enumerate(items))
        display.user_id = "v" if name == "d3" else "u"
        display.surface = "similar" if name == "no banner" else ""
        writer.append_display(display)
        writer.append_tracked([logged_event("b", item_id="b", kind=EVENT_KINDS.index("click"), display_id="d2")])
        writer.append_tracked([logged_event("c", item_id="c", kind=EVENT_KINDS.index("view"))])
        writer.close()
        if name == "d1":
            compact(place.log)
    assert write_unclicked(place, tmp_path / "some.parquet") == 4
    found = pq.read_table(tmp_path / "some.parquet")
    pairs = sorted(zip(found["user_id"].to_pylist(), found["item_id"].to_pylist(), strict=True))
    assert pairs == [("u", "a"), ("u", "c"), ("u", "d"), ("v", "a")]


def test_of_a_workspace_without_a_log_only_the_imported_events_are_learnt_from(tmp_path: Path) -> None:
    place = workspace_with(tmp_path / "w", [1, 2, 3])
    found = learning_events(place, tmp_path / "gathered")
    assert found.files == (place.events,) and found.counts == EventCounts(3)
    assert str(found.counts) == "3 imported events"
    track(place, [3, 4, 5])
    assert learning_events(place, tmp_path / "other", with_log=False).counts == EventCounts(3)
    told = str(learning_events(place, tmp_path / "another").counts)
    assert told == "3 imported events and 2 of the gateway's log, 1 more left out since their ids had occurred"


def test_a_training_that_goes_on_learns_from_what_it_began_with(tmp_path: Path) -> None:
    place = workspace_with(tmp_path / "w", [1])
    track(place, [2])
    before = learning_events(place, tmp_path / "gathered")
    track(place, [3])
    assert learning_events(place, tmp_path / "gathered") == before


def test_a_damaged_log_is_named(tmp_path: Path) -> None:
    place = workspace_with(tmp_path / "w", [1])
    track(place, [2])
    compact(place.log)
    (segment,) = (place.log / "tracked").rglob("*.parquet")
    segment.write_bytes(b"nothing")
    with pytest.raises(DataError, match=segment.name):
        learning_events(place, tmp_path / "gathered")
