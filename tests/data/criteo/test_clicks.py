"""Click logs of one's own become the folder that the ranker trains on: columns by name, rows by time, each counted."""

import json

import numpy as np
import pytest
import xxhash
from typer.testing import CliRunner

from data.cli import app
from data.criteo.clicks import ClickColumns, convert_clicks, read_clicks
from data.criteo.dataset import CriteoDataset
from data.criteo.rows import CriteoRows
from data.errors import DataError

COLUMNS = ClickColumns(label="clicked", ids=("user", "item"), numbers=("price", "delta"), time="ts")


def log(tmp_path, rows=200, name="log.csv"):
    """Rows in the reverse order of time; the price is the number of the row in order of time."""
    lines = []
    for k in reversed(range(rows)):
        user, clicked = "NULL" if k == 5 else f"u{k % 7}", "yes" if k % 4 == 0 else "no"
        lines.append(f"{1_700_000_000 + k},{user},i{k % 3},{k}.5,{(-1) ** k},{clicked}")
    path = tmp_path / name
    path.write_text("ts,user,item,price,delta,clicked\n" + "\n".join(lines) + "\n")
    return path


def test_a_click_log_becomes_the_layout_of_criteos_with_names_of_its_own(tmp_path):
    done = convert_clicks(log(tmp_path), tmp_path / "columns", COLUMNS)
    dataset = CriteoDataset.open(tmp_path / "columns", verify=True)
    assert (dataset.manifest.dense, dataset.manifest.id_names) == (("price", "delta"), ("user", "item"))
    assert (done.rows, done.bad, dataset.table_rows) == (200, 0, (9, 5))
    train, validation, test = (dataset.split(name) for name in ("train", "validation", "test"))
    assert (len(train), len(validation), len(test)) == (160, 20, 20)
    assert train.dense[:, 0].tolist() == [k + 0.5 for k in range(160)]  # in the order of time
    assert train.label[:5].tolist() == [1, 0, 0, 0, 1]
    assert train.categorical[5, 0] == 0 and (train.categorical[:5, 0] >= 2).all()  # NULL is nobody
    described = (tmp_path / "columns" / "specification.yaml").read_text()
    assert "name: price\n  log: true" in described and "name: delta\n  log: false" in described


def test_the_rows_of_a_folder_stand_beside_those_of_a_log_as_it_is_read(tmp_path):
    path = log(tmp_path)
    convert_clicks(path, tmp_path / "columns", COLUMNS)
    folder = CriteoRows.of_folder(tmp_path / "columns", as_written=True)
    rows, moments, _ = read_clicks(path, COLUMNS)
    order = np.argsort(moments)
    assert np.array_equal(folder.ids, rows.ids[order]) and np.array_equal(folder.label, rows.label[order])
    assert rows.ids[-1, 0] == xxhash.xxh32_intdigest(b"u0")


def test_bad_rows_are_counted_and_kept_or_refuse_the_log(tmp_path):
    path = log(tmp_path)
    path.write_text(path.read_text() + "1700009999,u1,i1,cheap,1,no\n1700009999,u1,i1,1,1,maybe\n")
    with pytest.raises(DataError, match=r"column 'price': expected a finite number, .*2 of 202 rows are bad"):
        convert_clicks(path, tmp_path / "columns", COLUMNS)
    assert not (tmp_path / "columns").exists()
    done = convert_clicks(path, tmp_path / "columns", COLUMNS, skip_bad=2)
    assert (done.rows, done.bad, sum(one.rows for one in done.manifest.splits.values())) == (202, 2, 200)
    assert "expected 0 or 1, found 'maybe'" in (tmp_path / "columns" / "bad_rows.tsv").read_text()


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"label": "bought"}, "column 'bought' is missing"),
        ({"ids": ("user", "user")}, "each column once"),
        ({"numbers": ()}, "expected a label, ids and numbers"),
        ({"label": "price"}, "expected a label, ids and numbers, each column once"),
    ],
)
def test_columns_that_will_not_do_are_said(tmp_path, columns, expected):
    with pytest.raises(DataError, match=expected):
        convert_clicks(log(tmp_path), tmp_path / "columns", COLUMNS.model_copy(update=columns))


def test_the_command_names_columns(tmp_path):
    words = ["clicks", log(tmp_path), "-o", tmp_path / "columns", "--label", "clicked", "--ids", "user, item"]
    words += ["--numbers", "price", "--time", "ts", "--json", tmp_path / "figures.json"]
    found = CliRunner().invoke(app, [str(word) for word in words])
    assert found.exit_code == 0, found.output
    assert "200 rows read" in found.output
    assert json.loads((tmp_path / "figures.json").read_text())["figures"]["rows"] == 200
