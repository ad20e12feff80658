"""The catalog as arrays, and events as timelines."""

import random

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.errors import DataError
from data.ids import UNKNOWN
from data.items import ItemTable
from data.request import HISTORY_LIMIT
from data.schema import CATALOG_SCHEMA, EVENT_KINDS
from data.timelines import Timelines


def catalog(*rows):
    names = ("item_id", "merchant_id", "category", "price", "title", "image_url", "available")
    return pa.Table.from_pylist([dict(zip(names, row, strict=True)) for row in rows], CATALOG_SCHEMA)


CATALOG = catalog(
    ("i3", "m2", "a/b", 3.5, "Three", "", True),
    ("i1", "m1", "", None, "One", "http://x/1", False),
    ("i0", "m2", "a", 0.0, "Zero", "", True),
    ("i2", "m1", "a/b", 2.0, "Zwei ü", "", True),
)


def facts(items):
    return [
        (
            items.items.id(k),
            items.merchants.id(int(items.merchant[k])),
            items.categories.id(int(items.category[k])),
            None if np.isnan(items.price[k]) else float(items.price[k]),
            items.titles[k],
            items.image_urls[k],
            bool(items.available[k]),
        )
        for k in range(len(items))
    ]


def test_items_are_ordered_by_merchant_and_id_and_lose_nothing(tmp_path):
    items = ItemTable.of(CATALOG)
    expected = sorted((tuple(row.values()) for row in CATALOG.to_pylist()), key=lambda row: (row[1], row[0]))
    assert facts(items) == expected
    items.save(tmp_path / "catalog")
    assert facts(ItemTable.load(tmp_path / "catalog")) == expected


def test_a_merchants_items_are_one_slice():
    items = ItemTable.of(CATALOG)
    for merchant in range(len(items.merchants)):
        owned = np.flatnonzero(items.merchant == merchant)
        assert np.arange(len(items))[items.slice_of(merchant)].tolist() == owned.tolist()


def test_an_item_twice_in_a_catalog_is_refused():
    with pytest.raises(DataError, match="id 'i1' occurs twice"):
        ItemTable.of(catalog(("i1", "m1", "", 1.0, "x", "", True), ("i1", "m2", "", 1.0, "x", "", True)))


def test_an_item_table_with_a_file_missing_is_refused_by_name(tmp_path):
    ItemTable.of(CATALOG).save(tmp_path)
    (tmp_path / "price.npy").unlink()
    with pytest.raises(DataError, match=r"price\.npy"):
        ItemTable.load(tmp_path)


def test_an_empty_catalog_makes_an_empty_table(tmp_path):
    ItemTable.of(catalog()).save(tmp_path)
    loaded = ItemTable.load(tmp_path)
    assert len(loaded) == 0
    assert loaded.items.position("i1") == UNKNOWN


def random_events(logs, seed, size):
    rng = random.Random(seed)
    return [
        logs.event(
            number,
            rng.choice(EVENT_KINDS),
            f"u{rng.randrange(5)}",
            f"i{rng.randrange(6)}",  # i4 and i5 are not in the catalog
            ts=rng.randrange(20),
            country=rng.choice(["FR", "DE"]),
        )
        for number in rng.sample(range(1000), size)
    ]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 60), st.sets(st.sampled_from(EVENT_KINDS), min_size=1))
def test_timelines_are_the_events_sorted_by_user_time_and_id(logs, seed, size, kinds):
    items = ItemTable.of(CATALOG)
    rows = random_events(logs, seed, size)
    timelines = Timelines.of(logs.events_table(rows), items, sorted(kinds))
    wanted = [row for row in rows if row["kind"] in kinds]
    kept = sorted(
        (row for row in wanted if items.items.position(row["item_id"]) != UNKNOWN),
        key=lambda row: (row["user_id"], row["ts"], row["event_id"]),
    )
    assert timelines.left_out == len(wanted) - len(kept)
    assert timelines.users == sorted({row["user_id"] for row in kept})
    assert [timelines.users[user] for user in timelines.user_of_event()] == [row["user_id"] for row in kept]
    assert [items.items.id(int(item)) for item in timelines.items] == [row["item_id"] for row in kept]
    assert [EVENT_KINDS[kind] for kind in timelines.kinds] == [row["kind"] for row in kept]
    assert timelines.ts.tolist() == [row["ts"] for row in kept]
    assert timelines.countries == [
        [row["country"] for row in kept if row["user_id"] == user][-1] for user in timelines.users
    ]
    for user, name in enumerate(timelines.users):
        own = [row["ts"] for row in kept if row["user_id"] == name]
        for before in (None, 0, 7, 20):
            seen = [ts for ts in own if before is None or ts < before]
            assert timelines.history(user, before, limit=3).ts.tolist() == seen[-3:]
    part = timelines.between(5, 12)
    assert part.users == timelines.users
    assert part.ts.tolist() == [row["ts"] for row in kept if 5 <= row["ts"] < 12]
    assert np.diff(part.offsets).tolist() == [
        sum(row["user_id"] == user and 5 <= row["ts"] < 12 for row in kept) for user in timelines.users
    ]


def test_no_events_make_no_timelines(logs):
    assert len(Timelines.of(logs.events_table([]), ItemTable.of(CATALOG))) == 0


def test_events_of_unknown_items_alone_make_no_timelines(logs):
    timelines = Timelines.of(logs.events_table([logs.event(1, item="nowhere")]), ItemTable.of(CATALOG))
    assert (len(timelines), timelines.left_out) == (0, 1)


def test_a_history_is_no_longer_than_the_limit(logs):
    rows = [logs.event(number, ts=number) for number in range(HISTORY_LIMIT + 20)]
    history = Timelines.of(logs.events_table(rows), ItemTable.of(CATALOG)).history(0)
    assert history.ts.tolist() == list(range(20, HISTORY_LIMIT + 20))
