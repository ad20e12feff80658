"""The simulated marketplace: the same from the same config, valid tables, a long tail, saved and loaded whole."""

import hashlib
import json
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.errors import DataError
from data.items import ItemTable
from data.schema import CATALOG_SCHEMA, EVENT_SCHEMA, EventKind
from data.settings import checked
from data.simulator import Marketplace, MarketplaceConfig, preset
from data.simulator.randomness import generator, pick, pick_from, stream_key, uniforms
from data.timelines import Timelines

_DIGEST = """
import hashlib
from data.simulator import Answerer, Marketplace, PopularPolicy, preset
import numpy as np
marketplace = Marketplace.generate(preset("small", users=300))
which = np.arange(len(marketplace.opportunities))
answers = Answerer(marketplace).answer(which, PopularPolicy(marketplace)(which))
tables = (marketplace.catalog(), marketplace.organic_events(0, 99), answers)
print(hashlib.sha256("".join(str(table.to_pylist()) for table in tables).encode()).hexdigest())
"""


@pytest.fixture(scope="module")
def marketplace() -> Marketplace:
    return Marketplace.generate(preset("small"))


def test_another_process_generates_the_same_marketplace_and_the_same_answers() -> None:
    digests = {
        subprocess.run(
            [sys.executable, "-c", _DIGEST],
            env={**os.environ, "PYTHONHASHSEED": seed, "OMP_NUM_THREADS": threads},
            cwd=Path(__file__).parents[3],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed, threads in (("1", "1"), ("2", "2"))
    }
    assert len(digests) == 1


def test_another_seed_gives_another_marketplace(marketplace: Marketplace) -> None:
    other = Marketplace.generate(preset("small", seed=2))
    assert not np.array_equal(other.items.quality, marketplace.items.quality)
    assert len(other.organic) != len(marketplace.organic)


def test_the_tables_are_valid_and_their_ids_unique(marketplace: Marketplace) -> None:
    catalog, events = marketplace.catalog(), marketplace.organic_events(0, marketplace.config.days)
    for table, schema, key in ((catalog, CATALOG_SCHEMA, "item_id"), (events, EVENT_SCHEMA, "event_id")):
        table.validate(full=True)
        assert table.schema == schema
        assert pc.count_distinct(table[key]).as_py() == len(table)
        assert all(table[field.name].null_count == 0 for field in schema if not field.nullable)
    assert len(catalog) == sum(marketplace.config.merchant_sizes)
    assert pc.all(pc.greater(catalog["price"], 0)).as_py()
    sales = events.filter(pc.equal(events["kind"], "sale"))
    assert len(sales) > 50
    assert sales["order_id"].null_count == sales["order_value"].null_count == 0
    assert events.filter(pc.equal(events["kind"], "view"))["order_value"].null_count == len(events) - len(sales)


def test_organic_sales_happen_only_in_the_training_period(marketplace: Marketplace) -> None:
    test = marketplace.organic_events(marketplace.config.train_days, marketplace.config.days)
    assert len(test) > 1000
    assert test["kind"].unique().to_pylist() == ["view"]


@settings(max_examples=20, deadline=None)
@given(edges=st.lists(st.floats(0, 21), min_size=1, max_size=5))
def test_windows_of_organic_events_partition_the_whole(marketplace: Marketplace, edges: list[float]) -> None:
    cuts = [0.0, *sorted(edges), float(marketplace.config.days)]
    parts = [marketplace.organic_events(start, end) for start, end in pairwise(cuts)]
    assert pa.concat_tables(parts) == marketplace.organic_events(0, marketplace.config.days)


def test_item_positions_are_those_of_the_item_table(marketplace: Marketplace) -> None:
    table = ItemTable.of(marketplace.catalog())
    assert table.items.ids() == marketplace.item_ids
    assert table.merchants.ids() == marketplace.merchant_ids
    assert np.array_equal(table.merchant, marketplace.items.merchant)
    assert np.array_equal(table.price, marketplace.items.price)
    assert marketplace.item_positions([marketplace.item_ids[7], "nothing"]).tolist() == [7, -1]


def test_a_history_is_the_timeline_before_that_moment(marketplace: Marketplace) -> None:
    table = ItemTable.of(marketplace.catalog())
    timelines = Timelines.of(marketplace.organic_events(0, marketplace.config.days), table)
    at = marketplace.opportunities
    place = {user: position for position, user in enumerate(timelines.users)}
    checked = 0
    for which in range(0, len(at), 40):
        user, before = int(at.user[which]), int(at.ts[which])
        found = marketplace.history(user, before)
        if marketplace.user_ids[user] not in place:
            assert len(found) == 0
            continue
        expected = timelines.history(place[marketplace.user_ids[user]], before)
        assert np.array_equal(found.ts, expected.ts)
        assert np.array_equal(found.items, expected.items)
        assert np.array_equal(found.kinds, expected.kinds)
        checked += len(found) > 0
    assert checked > 20


def test_views_users_and_catalogues_have_a_long_tail(marketplace: Marketplace) -> None:
    views = np.bincount(marketplace.organic.item, minlength=len(marketplace.items))
    top = np.sort(views)[::-1]
    assert 0.35 < top[: len(top) // 10].sum() / top.sum() < 0.85
    assert (views > 0).mean() > 0.8  # the tail is thin, not absent
    per_user = np.sort(np.bincount(marketplace.organic.user, minlength=len(marketplace.users)))[::-1]
    assert per_user[: len(per_user) // 10].sum() / per_user.sum() > 0.3
    opportunities = np.bincount(marketplace.opportunities.user)
    assert opportunities.max() > 5 * opportunities[opportunities > 0].mean()


def test_popularity_follows_quality_only_in_part(marketplace: Marketplace) -> None:
    items = marketplace.items
    own = items.slice_of(2)
    ranks = [np.argsort(np.argsort(values[own])) for values in (items.popularity, items.quality)]
    assert 0.25 < np.corrcoef(*ranks)[0, 1] < 0.75


def test_larger_merchants_sell_more_departments(marketplace: Marketplace) -> None:
    tree, items = marketplace.tree, marketplace.items
    departments = [len(np.unique(tree.department[items.leaf[items.slice_of(merchant)]])) for merchant in range(3)]
    assert departments == sorted(departments)
    assert departments[0] < departments[2]


def test_interests_drift_between_phases_and_stay_within_them() -> None:
    interests = Marketplace.generate(preset("small", users=2_000)).users.interests
    changed = (interests[:, 1] != interests[:, 0]).mean()
    assert 0.15 < changed < 0.27  # drift .25, less the changes that land on the old leaf
    still = Marketplace.generate(preset("small", users=200, drift=0.0)).users.interests
    assert (still == still[:, :1]).all()


def test_what_is_sold_out_is_not_viewed_in_the_test_period() -> None:
    marketplace = Marketplace.generate(preset("small", unavailable_share=0.3))
    organic = marketplace.organic
    sold_out = ~marketplace.items.available[organic.item]
    test = organic.ts >= marketplace.config.test_start_us
    assert sold_out[~test].sum() > 100
    assert not sold_out[test].any()


def test_a_saved_marketplace_loads_as_it_was(marketplace: Marketplace, tmp_path: Path) -> None:
    marketplace.save(tmp_path / "simulator")
    marketplace.save(tmp_path / "simulator")  # replaces itself
    loaded = Marketplace.load(tmp_path / "simulator")
    assert loaded.config == marketplace.config
    assert loaded.catalog() == marketplace.catalog()
    assert loaded.organic_events(3, 9) == marketplace.organic_events(3, 9)
    assert loaded.behaviour.click_base == marketplace.behaviour.click_base
    assert np.array_equal(loaded.opportunities.ts, marketplace.opportunities.ts)
    assert [path.name for path in tmp_path.iterdir()] == ["simulator"]


def test_a_broken_marketplace_is_refused_with_its_file(marketplace: Marketplace, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no simulated marketplace"):
        Marketplace.load(tmp_path / "nowhere")
    folder = tmp_path / "simulator"
    marketplace.save(folder)
    np.save(folder / "items.quality.npy", np.zeros(3, np.float32))
    with pytest.raises(DataError, match=r"items\.quality\.npy: expected 690 rows, found 3"):
        Marketplace.load(folder)
    (folder / "items.quality.npy").write_bytes(b"\x93NUMPY")
    with pytest.raises(DataError, match=r"items\.quality\.npy"):
        Marketplace.load(folder)
    (folder / "marketplace.json").write_text("{")
    with pytest.raises(DataError, match="expected JSON"):
        Marketplace.load(folder)
    (folder / "marketplace.json").write_text('{"format_version": 99}')
    with pytest.raises(DataError, match="expected format_version 1"):
        Marketplace.load(folder)


@pytest.mark.parametrize(
    "changes",
    [
        {"personalisation": 1.5},
        {"personalisation": float("nan")},
        {"users": 1},
        {"merchant_sizes": ()},
        {"merchant_sizes": (3,)},
        {"start": "yesterday"},
        {"seed": -1},
        {"slot_counts": (60,)},
        {"sessions_per_user": float("inf")},
    ],
)
def test_a_config_out_of_range_is_refused_by_name(changes: dict[str, object]) -> None:
    with pytest.raises(DataError, match=next(iter(changes))):
        preset("small", **changes)


def test_an_unknown_preset_is_refused() -> None:
    with pytest.raises(DataError, match="expected one of small, demo, lively, large"):
        preset("huge")


def test_a_config_survives_json() -> None:
    config = preset("small", seed=9, countries=("XX",))
    assert checked(MarketplaceConfig, json.loads(config.model_dump_json()), "config") == config
    assert config.fingerprint() != config.changed(seed=8).fingerprint()
    with pytest.raises(DataError, match="config: colour: Extra inputs are not permitted"):
        checked(MarketplaceConfig, {**config.model_dump(), "colour": 1}, "config")


@pytest.mark.parametrize("sizes", [(10,), (10, 10, 10), (5_000,)])
def test_odd_shapes_of_marketplace_work(sizes: tuple[int, ...]) -> None:
    config = preset("small", merchant_sizes=sizes, users=60, interests=1, countries=("XX",), slot_counts=(1,))
    marketplace = Marketplace.generate(config)
    assert len(marketplace.catalog()) == sum(sizes)
    assert len(marketplace.organic) > 0
    assert np.diff(marketplace.items.shelf_offsets).sum() == sum(sizes)


def test_streams_depend_on_seed_purpose_and_block_alone() -> None:
    draws = {
        (seed, purpose, block): hashlib.sha256(generator(seed, purpose, block).bytes(64)).hexdigest()
        for seed in (1, 2)
        for purpose in ("a", "b")
        for block in (0, 1)
    }
    assert len(set(draws.values())) == len(draws)
    assert generator(1, "a").random() == generator(1, "a").random()


@settings(max_examples=50, deadline=None)
@given(
    seed=st.integers(0, 2**63 - 1),
    counters=st.lists(st.tuples(st.integers(0, 2**40), st.integers(0, 2**31)), min_size=1, max_size=20),
)
def test_a_hashed_draw_does_not_depend_on_its_batch(seed: int, counters: list[tuple[int, int]]) -> None:
    key = stream_key(seed, "test")
    first, second = (np.array(column) for column in zip(*counters, strict=True))
    together = uniforms(key, first, second)
    assert ((together > 0) & (together < 1)).all()
    for k in range(len(counters)):
        assert uniforms(key, first[k], second[k]) == together[k]


def test_hashed_draws_are_uniform_and_uncorrelated() -> None:
    grid = uniforms(stream_key(1, "test"), np.arange(500)[:, None], np.arange(400))
    counts = np.bincount((grid.ravel() * 50).astype(int), minlength=50)
    assert ((counts - 4000) ** 2 / 4000).sum() < 95  # chi-square, 49 degrees of freedom, p = 1e-4
    other = uniforms(stream_key(1, "other"), np.arange(500)[:, None], np.arange(400))
    for left, right in ((grid[1:], grid[:-1]), (grid[:, 1:], grid[:, :-1]), (grid, other)):
        assert abs(np.corrcoef(left.ravel(), right.ravel())[0, 1]) < 4 / np.sqrt(left.size)


@settings(max_examples=50, deadline=None)
@given(
    weights=st.lists(st.integers(0, 5), min_size=2, max_size=6).filter(any),
    draws=st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=9),
)
def test_a_pick_never_takes_a_column_of_weight_zero(weights: list[int], draws: list[float]) -> None:
    row, drawn = np.array(weights, float), np.array(draws)
    rows = np.tile(np.cumsum(row), (len(drawn), 1))
    picked = pick(rows, drawn)
    assert (row[picked] > 0).all()


def test_picks_come_in_proportion_to_weights() -> None:
    weights = np.array([[1.0, 0.0, 3.0], [2.0, 2.0, 0.0]])
    rows = np.repeat([0, 1], 20_000)
    draws = np.random.default_rng(0).random(len(rows))
    for picked in (pick(np.cumsum(weights, axis=1)[rows], draws), pick_from(weights, rows, draws)):
        shares = np.array([np.bincount(picked[rows == row], minlength=3) / 20_000 for row in (0, 1)])
        assert np.abs(shares - weights / 4).max() < 0.015


def test_views_are_organic_views_only(marketplace: Marketplace) -> None:
    assert set(np.unique(marketplace.organic.kind).tolist()) == {EventKind.view, EventKind.sale}
    assert (np.diff(marketplace.organic.ts) >= 0).all()
