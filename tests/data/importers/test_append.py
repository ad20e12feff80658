"""`tandem data import --append`: a day more, read as the days before; the same file twice adds nothing."""

import pytest

from data.errors import DataError
from data.importers import ImportOptions, import_file
from data.readers.sniffing import Reading
from data.tables import load_catalog, load_events
from data.workspace import Workspace

MONDAY = "when;who;sku;deed\n01.05.2024 10:00;a;x;look\n01.05.2024 10:00;a;x;look\n01.05.2024 11:00;b;y;look\n"
TUESDAY = "when;who;sku;deed\n02.05.2024 10:00;a;z;look\n01.05.2024 11:00;b;y;look\n"
MAPPED = ImportOptions(
    columns={"ts": "when", "user_id": "who", "item_id": "sku", "kind": "deed"},
    constants={"merchant_id": "m"},
    kinds={"look": "view"},
    reading=Reading(time_format="%d.%m.%Y %H:%M"),
)


@pytest.fixture
def shop(tmp_path):
    """A workspace with Monday's events, and a function that appends a text."""
    workspace = Workspace(tmp_path / "shop")

    def add(text, name="day.csv", append=True, options=None):
        path = tmp_path / name
        path.write_text(text)
        return import_file(workspace, path, options=options, append=append)

    add(MONDAY, append=False, options=MAPPED)
    add.workspace = workspace
    return add


def test_a_day_more_is_read_by_the_mapping_of_the_days_before(shop):
    report = shop(TUESDAY)
    assert (report.rows_read, report.events, report.already_there) == (2, 1, 1)
    events = load_events(shop.workspace)
    assert events["item_id"].to_pylist() == ["x", "x", "y", "z"]
    assert events["ts"].to_pylist() == sorted(events["ts"].to_pylist())
    assert load_catalog(shop.workspace)["item_id"].to_pylist() == ["x", "y", "z"]
    origin = shop.workspace.origin()
    assert (origin.name, origin.events, origin.items) == ("day.csv", 4, 3)


def test_the_same_file_twice_adds_nothing(shop):
    before = load_events(shop.workspace)
    report = shop(MONDAY, "again.csv")
    assert (report.events, report.already_there) == (0, 3)
    assert load_events(shop.workspace) == before


def test_ids_do_not_depend_on_the_row_in_which_an_event_stands(shop):
    header, *rows = MONDAY.splitlines(keepends=True)
    report = shop(header + "01.05.2024 09:00;c;x;look\n" + "".join(reversed(rows)))
    assert (report.events, report.already_there) == (1, 3)


def test_known_items_keep_their_merchant_and_row(shop):
    shop(
        "when;who;sku;deed;merchant_id\n03.05.2024 10:00;a;x;look;other\n",
        options=ImportOptions(columns=MAPPED.columns, kinds=MAPPED.kinds, reading=MAPPED.reading),
    )
    assert set(load_events(shop.workspace)["merchant_id"].to_pylist()) == {"m"}


def test_an_id_of_its_own_that_is_another_event_is_refused(tmp_path):
    header = "event_id,ts,user_id,kind,item_id,merchant_id,country\n"
    workspace, path = Workspace(tmp_path / "shop"), tmp_path / "events.csv"
    path.write_text(header + "1,2024-05-01,u,view,i,m,FR\n")
    import_file(workspace, path)
    path.write_text(header + "1,2024-05-02,v,view,i,m,FR\n")
    with pytest.raises(DataError, match=r"1 events have ids of other events.*the first '1'"):
        import_file(workspace, path, append=True)
    assert len(load_events(workspace)) == 1


def test_appending_needs_events_that_were_imported(tmp_path):
    (tmp_path / "events.csv").write_text(MONDAY)
    with pytest.raises(DataError, match="holds no events"):
        import_file(Workspace(tmp_path / "none"), tmp_path / "events.csv", append=True)
    assert not (tmp_path / "none").exists()
