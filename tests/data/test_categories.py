"""Spellings of one category path are one category."""

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from candidates.category_paths import shared_path
from data.categories import category_key, one_spelling
from data.items import ItemTable
from data.schema import CATALOG_SCHEMA

STEP = st.text("abc deF", min_size=1, max_size=5).filter(str.strip)


@given(st.lists(STEP, min_size=1, max_size=4))
def test_case_spaces_and_slashes_make_no_difference(steps: list[str]) -> None:
    path = "/".join(steps)
    other = "/" + " / ".join(step.swapcase().replace(" ", "  ") for step in steps) + "//"
    assert category_key(path) == category_key(other) == category_key(category_key(path))
    assert shared_path(path, other) == 1
    assert shared_path(path, other + "/further") == len(steps) / (len(steps) + 1)


def test_what_is_no_path_is_near_to_nothing() -> None:
    assert shared_path("", "") == shared_path("/", "a") == shared_path(" ", "home") == 0


def test_one_spelling_is_that_of_the_catalog_or_of_the_most_items() -> None:
    paths = pa.chunked_array([["Home/Desk", "home / desk", "/home/desk/", "home / desk", "", "toys"]])
    assert one_spelling(paths).to_pylist() == [*["home / desk"] * 4, "", "toys"]
    assert one_spelling(paths, ["HOME/DESK"]).to_pylist() == [*["HOME/DESK"] * 4, "", "toys"]


def test_a_catalog_in_two_spellings_has_one_category() -> None:
    row = {"merchant_id": "m", "price": None, "title": "", "image_url": "", "available": True}
    rows = [row | {"item_id": name, "category": path} for name, path in (("a", "Home/Desk"), ("b", " /home/desk"))]
    items = ItemTable.of(pa.Table.from_pylist(rows, CATALOG_SCHEMA))
    assert len(items.categories) == 1 and items.category.tolist() == [0, 0]
