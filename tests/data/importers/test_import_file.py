"""What an import writes into a workspace, and whose items the catalog says they are."""

import pytest

from data.errors import DataError
from data.importers import import_file
from data.readers import read_events
from data.tables import load_catalog, load_events, store
from data.workspace import Origin, Workspace


def column(imported, name):
    return imported.events[name].to_pylist()


EVENTS = """event_id,ts,user_id,kind,item_id,merchant_id,country
e2,800000002,u1,view,i1,m1,FR
e1,800000001,u1,view,i2,m2,FR
"""


def test_a_catalog_says_whose_an_item_is(load, tmp_path):
    catalog = tmp_path / "catalog.csv"
    catalog.write_text("item_id,merchant_id,title\ni1,m9,Chair\n")
    for format_name in ("events", "mapping"):
        imported = load(EVENTS, format_name, catalog=catalog)
        assert sorted(column(imported, "merchant_id")) == ["m2", "m9"]
        assert imported.catalog["title"].to_pylist() == ["Chair"]
        assert imported.report.moved == 1
        assert imported.report.without_item == 1


def test_a_catalog_of_other_items_is_refused(load, tmp_path):
    (tmp_path / "catalog.csv").write_text("item_id,merchant_id\nother,m1\n")
    with pytest.raises(DataError, match="expected the items of the events, found none of them"):
        load(EVENTS, "events", catalog=tmp_path / "catalog.csv")


@pytest.fixture
def workspace(tmp_path):
    return Workspace(tmp_path / "deep" / "workspace")


def test_an_import_fills_a_workspace_in_order_of_time(workspace, tmp_path):
    (tmp_path / "events.csv").write_text(EVENTS)
    import_file(workspace, tmp_path / "events.csv", "events")
    assert load_events(workspace)["event_id"].to_pylist() == ["e1", "e2"]
    assert load_catalog(workspace)["item_id"].to_pylist() == ["i1", "i2"]
    origin = workspace.origin()
    assert (origin.name, origin.simulated, origin.events, origin.items) == ("events.csv", False, 2, 2)
    assert sorted(path.name for path in workspace.root.iterdir()) == [
        ".writing",
        "catalog.parquet",
        "events.parquet",
        "import.json",
        "origin.json",
    ]


def test_a_failed_import_writes_nothing_and_spoils_nothing(workspace, tmp_path):
    good, bad = tmp_path / "good.csv", tmp_path / "bad.csv"
    good.write_text(EVENTS)
    bad.write_text(EVENTS.replace("view", "look"))
    with pytest.raises(DataError):
        import_file(workspace, bad, "events")
    assert not workspace.root.exists()
    import_file(workspace, good, "events")
    before = {path.name: path.read_bytes() for path in workspace.root.iterdir()}
    with pytest.raises(DataError, match="--replace"):
        import_file(workspace, good, "events")
    with pytest.raises(DataError, match="column 'kind'"):
        import_file(workspace, bad, "events", replace=True)
    assert {path.name: path.read_bytes() for path in workspace.root.iterdir()} == before


def test_a_disk_that_fails_midway_leaves_the_old_events(workspace, tmp_path, monkeypatch):
    (tmp_path / "events.csv").write_text(EVENTS)
    import_file(workspace, tmp_path / "events.csv", "events")
    before = {path.name: path.read_bytes() for path in workspace.root.iterdir()}

    def fail(path):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("data.importers.placing.force_to_disk", fail)
    with pytest.raises(DataError, match="No space left on device"):
        import_file(workspace, tmp_path / "events.csv", "events", replace=True)
    assert {path.name: path.read_bytes() for path in workspace.root.iterdir()} == before


def test_other_events_take_a_simulations_truth_away(workspace, tmp_path):
    (tmp_path / "events.csv").write_text(EVENTS)
    import_file(workspace, tmp_path / "events.csv", "events")
    events, catalog = load_events(workspace), load_catalog(workspace)
    store(workspace, events, catalog, Origin("made up", True, "", 2, 2), replace=True)
    workspace.simulator.mkdir()
    import_file(workspace, tmp_path / "events.csv", "events", replace=True)
    assert not workspace.simulator.exists()
    assert not workspace.origin().simulated


def test_a_workspaces_events_are_events_again(workspace, tmp_path):
    columns = "ts,user_id,event,item_id,category_code,category_id,brand_id,price_z"
    rows = ["1700000020,8,purchase,3,2,5,2,-1.5", "1700000040,9,view,4,2,6,3425,0.0"]
    (tmp_path / "rees46.csv").write_text("\n".join([columns, *rows]))
    import_file(workspace, tmp_path / "rees46.csv", "rees46")
    assert read_events(workspace.events).events == load_events(workspace)
