"""Filters of requests against the obvious loop over a catalog."""

import math

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data import filters
from data.errors import DataError
from data.filters import ItemFilters, item_filter
from data.items import ItemTable
from data.request import NO_FILTER
from data.schema import CATALOG_SCHEMA

PATHS = ("shoes", "shoes/boots", "Shoes / Boots/winter", "shoesmith", "bags", "", "bags/red ones")


def table_of(rows: list[tuple[str, str, float | None, bool]]) -> ItemTable:
    """Rows of (merchant, category, price, available)."""
    given = [
        {"item_id": f"i{k}", "merchant_id": m, "category": c, "price": p, "title": "", "image_url": "", "available": a}
        for k, (m, c, p, a) in enumerate(rows)
    ]
    return ItemTable.of(pa.Table.from_pylist(given, CATALOG_SCHEMA))


PRICES = st.sampled_from([0.0, 5.0, 19.99, 20.0, 1e6])


@given(
    st.lists(
        st.tuples(st.sampled_from("ab"), st.sampled_from(PATHS), st.none() | PRICES, st.booleans()),
        min_size=1,
        max_size=30,
    ),
    st.lists(st.sampled_from(["shoes", "SHOES/boots/", "bags/red  ones", "none such"]), max_size=2),
    st.none() | PRICES,
    st.none() | PRICES,
)
def test_what_passes_is_what_a_loop_over_the_catalog_finds(
    rows: list[tuple[str, str, float | None, bool]], categories: list[str], low: float | None, high: float | None
) -> None:
    if low is not None and high is not None and low > high:
        low, high = high, low
    table, asked = table_of(rows), item_filter(categories, low, high)

    def steps(path: str) -> list[str]:
        return [" ".join(one.split()).casefold() for one in path.split("/") if one.strip()]

    def passes(category: str, price: float | None, available: bool) -> bool:
        wanted = [steps(one) for one in categories]
        inside = not wanted or any(steps(category)[: len(one)] == one for one in wanted)
        priced = (low is None and high is None) or (
            price is not None and (low is None or price >= low) and (high is None or price <= high)
        )
        return available and inside and priced

    found = ItemFilters(table)
    for merchant in range(len(table.merchants)):
        allowed = found.allowed(merchant, asked)
        if not asked:
            assert allowed is None
            continue
        assert allowed is not None and allowed is found.allowed(merchant, asked)
        name, own = table.merchants.id(merchant), table.slice_of(merchant)
        expected = {f"i{k}" for k, row in enumerate(rows) if row[0] == name and passes(*row[1:])}
        assert set(table.items.ids_at(allowed.items)) == expected
        assert allowed.mask.sum() == len(expected) and len(allowed.mask) == own.stop - own.start


def test_many_filters_take_no_more_memory_than_they_may(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filters, "KEPT_BYTES", 40)
    kept = ItemFilters(table_of([("a", "shoes", 5.0, True)] * 1 + [("a", "bags", 7.0, True)]))
    for price in range(50):
        assert kept.allowed(0, item_filter(max_price=price)) is not None
    assert kept._bytes <= 40 and len(kept._kept) < 20


def test_conditions_that_make_no_sense_are_one_sentence() -> None:
    assert item_filter() == NO_FILTER
    for given_, said in (
        ({"categories": [" / "]}, r"categories\[0\] is ' / '; expected a category's path, such as shoes/boots"),
        ({"categories": ["a"] * 51}, "categories has 51 entries; expected at most 50"),
        ({"min_price": -1.0}, "min_price is -1; expected a price from 0"),
        ({"max_price": math.nan}, "max_price is nan; expected a price"),
        ({"max_price": math.inf}, "max_price is inf; expected a price"),
        ({"min_price": 9.0, "max_price": 8.0}, "min_price is 9; expected at most max_price, which is 8"),
    ):
        with pytest.raises(DataError, match=said):
            item_filter(**given_)  # type: ignore[arg-type]
