"""Rows added to a workspace's tables: all of them, or a call that can be made again."""

from pathlib import Path

import pytest

from data import tables
from data.errors import DataError
from data.tables import append, load_catalog, load_events, store
from data.workspace import Origin, Workspace
from tests.support.rows import items_of, views_of


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    place = Workspace(tmp_path / "w")
    store(place, views_of(("e1", 5, "b")), items_of("b"), Origin("made up", True, "f", 1, 1))
    return place


def test_appended_rows_stand_in_order_and_are_counted(workspace: Workspace) -> None:
    append(workspace, views_of(("e3", 9, "a"), ("e2", 1, "b")), items_of("c", "a"))
    assert load_events(workspace)["event_id"].to_pylist() == ["e2", "e1", "e3"]
    assert load_catalog(workspace)["item_id"].to_pylist() == ["a", "b", "c"]
    assert workspace.origin() == Origin("made up", True, "f", 3, 3)
    append(workspace, views_of(), items_of())
    assert workspace.origin().events == 3


def test_a_call_cut_short_between_the_files_leaves_both_whole_and_can_be_made_again(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = tables._write

    def fails_at_events(path: Path, *rest: object) -> None:
        if "events" in path.name:
            raise OSError("no space left on device")
        write(path, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(tables, "_write", fails_at_events)
    with pytest.raises(DataError, match="expected a folder that can be written, found no space left"):
        append(workspace, views_of(("e2", 6, "a")), items_of("a"))
    assert load_events(workspace)["event_id"].to_pylist() == ["e1"]
    assert load_catalog(workspace)["item_id"].to_pylist() == ["a", "b"]
    monkeypatch.undo()
    append(workspace, views_of(("e2", 6, "a")), items_of())
    assert load_events(workspace)["event_id"].to_pylist() == ["e1", "e2"]
    assert (workspace.origin().events, workspace.origin().items) == (2, 2)


def test_nothing_is_appended_to_a_workspace_without_events(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no events"):
        append(Workspace(tmp_path), views_of(("e2", 6, "a")), items_of("a"))
