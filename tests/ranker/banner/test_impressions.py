"""Impressions of one's own: every row is a slot in the log or counted, and the ranker learns from them."""

import csv
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from candidates.cold_start.catalog_diff import catalog_of
from data.errors import DataError
from data.eventlog import read_displays, read_tracked
from data.tables import store
from data.workspace import Origin, Workspace
from ranker.banner.impressions import import_impressions
from ranker.banner.preparation import prepare
from ranker.banner.rows import rows_of_examples
from ranker.banner.workspace_rows import training_rows
from ranker.features.specification import banner_specification
from tests.support.shop import DAY, START, Shop, category_of

COLUMNS = ("display_id", "user_id", "item_id", "ts", "clicked", "order_value")


def workspace_of(root: Path, shop: Shop) -> Workspace:
    place = Workspace(root)
    origin = Origin("made up", True, "0", len(shop.events), len(shop.items))
    store(place, shop.events, catalog_of(shop.items), origin)
    return place


def write(file: Path, rows: list[dict[str, object]]) -> Path:
    with file.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    return file


def impression(display: int, user: int, item: int, clicked: bool, order: float | None = None) -> dict[str, object]:
    ts = datetime.fromtimestamp((START + 20 * DAY) / 1e6 + 60 * display, UTC).isoformat()
    value = "" if order is None else order
    return dict(zip(COLUMNS, (f"d{display}", f"u{user}", f"i{item}", ts, int(clicked), value), strict=True))


ROW = st.tuples(st.integers(0, 3), st.integers(0, 1), st.integers(-1, 5), st.booleans(), st.booleans())


@pytest.mark.slow
@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(ROW, min_size=1, max_size=14))
def test_every_row_read_is_a_slot_of_the_log_or_counted(
    shop: Shop, tmp_path_factory: pytest.TempPathFactory, drawn: list[tuple[int, int, int, bool, bool]]
) -> None:
    folder = tmp_path_factory.mktemp("impressions")
    workspace = workspace_of(folder / "w", shop)
    rows = [impression(d, u, 9999 if i < 0 else i, c, 3.0 if c and s else None) for d, u, i, c, s in drawn]
    file = write(folder / "log.csv", rows)
    found = import_impressions(workspace, file, {}).impressions
    assert found.rows == len(rows) == found.slots + sum(found.left_out.values())
    displays = read_displays(workspace.log)
    assert sum(len(one) for one in displays["slots"].to_pylist()) == found.slots
    merchants = {
        item: shop.items.merchants.id(int(shop.items.merchant[place]))
        for place, item in enumerate(shop.items.items.ids())
    }
    for display in displays.to_pylist():
        assert {merchants[slot["item_id"]] for slot in display["slots"]} == {display["merchant_id"]}
        assert [slot["position"] for slot in display["slots"]] == list(range(len(display["slots"])))
    again = import_impressions(workspace, file, {}).impressions
    assert again.slots == 0 and again.rows == sum(again.left_out.values())
    assert len(read_displays(workspace.log)) == len(displays)


def test_the_features_are_those_of_the_moment_and_clicks_and_sales_are_tracked(shop: Shop, tmp_path: Path) -> None:
    workspace = workspace_of(tmp_path / "w", shop)
    first = [impression(1, 7, item, item == 1, 5.0 if item == 1 else None) for item in (0, 1, 2)]
    file = write(tmp_path / "log.csv", [*first, impression(2, 9, 24, False)])
    found = import_impressions(workspace, file, {})
    displays, tracked = read_displays(workspace.log), read_tracked(workspace.log).to_pylist()
    assert (found.displays, found.clicks, found.sales) == (len(displays), 1, 1)
    assert sorted((row["kind"], row["item_id"]) for row in tracked) == [
        ("click", "i1"),
        ("landing", "i1"),
        ("sale", "i1"),
    ]
    slots = displays["slots"][0].as_py()
    examples = pa.table(
        {
            "request_id": ["d1"] * len(slots),
            "ts": [displays["ts"][0].as_py()] * len(slots),
            "user_id": ["u7"] * len(slots),
            "merchant_id": [displays["merchant_id"][0].as_py()] * len(slots),
            **{name: [""] * len(slots) for name in ("country", "publisher", "device")},
            "item_id": [slot["item_id"] for slot in slots],
            "position": pa.array([slot["position"] for slot in slots], pa.int32()),
            "label": pa.array([0] * len(slots), pa.int8()),
        }
    )
    expected, _ = rows_of_examples(banner_specification(), shop.items, shop.timelines, examples)
    np.testing.assert_allclose(np.array([slot["dense"] for slot in slots], np.float32), expected.dense)
    assert displays["recent_items"][0].as_py() == expected.bags["recent_items"][0].as_py()


def test_the_ranker_learns_from_them(shop: Shop, tmp_path: Path) -> None:
    workspace = workspace_of(tmp_path / "w", shop)
    random, rows = np.random.default_rng(0), []
    for display in range(200):
        user = int(random.integers(0, len(shop.taste)))
        for item in random.choice(8, 3, replace=False).tolist():
            likes = category_of(item) == shop.taste[user]
            rows.append(impression(display, user, item, random.random() < (0.6 if likes else 0.1)))
    found = import_impressions(workspace, write(tmp_path / "log.csv", rows), {})
    prepared = prepare(shop.items, *training_rows(workspace, shop.items, "log", "click", 0))
    assert prepared.displayed == len(prepared.train) > 100
    labels = sum(float(one.label.sum()) for one in (prepared.train, prepared.validation, prepared.test))
    assert labels == found.clicks


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"ts": "yesterday"}, "column 'ts'"),
        ({"clicked": "maybe"}, "expected true or false"),
        ({"user_id": ""}, "expected an id"),
    ],
)
def test_a_bad_row_is_named_and_nothing_is_written(
    shop: Shop, tmp_path: Path, change: dict[str, object], said: str
) -> None:
    workspace = workspace_of(tmp_path / "w", shop)
    file = write(tmp_path / "log.csv", [impression(1, 1, 1, True), impression(1, 1, 2, False) | change])
    with pytest.raises(DataError, match=f"row 2.*{said}"):
        import_impressions(workspace, file, {})
    assert not (workspace.log / "displays").exists() and not list((workspace.root).glob("*impressions*"))
    found = import_impressions(workspace, file, {}, skip_bad=1).impressions
    assert (found.rows, found.slots, found.bad) == (2, 1, 1)
    assert "row 2" in (workspace.root / "bad_impressions.tsv").read_text()


def test_positions_order_the_slots_whatever_numbers_they_are(shop: Shop, tmp_path: Path) -> None:
    workspace = workspace_of(tmp_path / "w", shop)
    names, moment = shop.items.items.ids_at(np.flatnonzero(shop.items.merchant == 0)[:4]), impression(0, 0, 0, False)
    lines = [f"d0,u0,{one},{moment['ts']},0,{at}" for one, at in zip(names, (1e30, 2.5, 2.5, 2.25), strict=True)]
    (tmp_path / "log.csv").write_text("\n".join(["display_id,user_id,item_id,ts,clicked,position", *lines]) + "\n")
    import_impressions(workspace, tmp_path / "log.csv", {})
    (slots,) = read_displays(workspace.log)["slots"].to_pylist()
    assert [one["item_id"] for one in slots] == [names[3], names[1], names[2], names[0]]
    assert [one["position"] for one in slots] == [0, 1, 2, 3]
