"""The catalog's reader: what may be missing, and the sentence for what may not."""

from pathlib import Path

import pytest

from data.errors import DataError
from data.readers import read_catalog
from data.schema import CATALOG_SCHEMA


@pytest.fixture
def write(tmp_path):
    def write(content: str) -> Path:
        path = tmp_path / "catalog.csv"
        path.write_text(content)
        return path

    return write


def test_a_catalog_needs_only_items_and_merchants(write):
    catalog = read_catalog(write("item_id,merchant_id\ni1,m1\ni2,m1\n"))
    assert catalog.schema == CATALOG_SCHEMA
    assert catalog.to_pylist()[1] == {
        **{"item_id": "i2", "merchant_id": "m1", "category": "", "price": None, "title": "i2"},
        **{"image_url": "", "available": True},
    }


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ("i1,m1,1,true", "column 'item_id': expected an item only once, found 'i1' again"),
        ("i2,,1,true", "column 'merchant_id': expected an id"),
        ("i2,m1,-0.1,true", "column 'price': expected a finite number of at least 0, found '-0.1'"),
        ("i2,m1,1e39,true", "column 'price': expected a finite number"),
        ("i2,m1,1,maybe", "column 'available': expected true or false, found 'maybe'"),
    ],
)
def test_a_wrong_catalog_row_is_named(write, row, expected):
    with pytest.raises(DataError, match=rf"row 2 \(line 3\), {expected}"):
        read_catalog(write(f"item_id,merchant_id,price,available\ni1,m1,2.5,no\n{row}\n"))


def test_the_line_is_right_below_values_of_several_lines(write):
    path = write('item_id,merchant_id,title,price\ni1,m1,"two\nlines",1\ni2,m1,"three\n\nlines",2\ni3,m1,x,-1\n')
    with pytest.raises(DataError, match=r"row 3 \(line 7\), column 'price': expected a finite number of at least 0"):
        read_catalog(path)
