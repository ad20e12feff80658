"""Users in blocks: what a block says adds up, however the users are divided."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from candidates.behaviour import Lists, LocalBehaviour, UserItems
from candidates.best_of.cbo import ClusterVisits
from candidates.best_of.cbo_training import ClusteredVisits, nearest
from data.schema import EVENT_SCHEMA, EventKind
from data.timelines import Timelines


def made_up(lengths: list[int], seed: int) -> UserItems:
    rng = np.random.default_rng(seed)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    items = np.concatenate([np.empty(0, np.int64), *(rng.permutation(40)[:length] for length in lengths)])
    counts = rng.integers(0, 4, len(lengths))
    unclicked = Lists(np.concatenate([[0], np.cumsum(counts)]), rng.integers(0, 40, counts.sum()).astype(np.int32))
    ts = np.arange(len(items)) * 10
    return UserItems(offsets, items.astype(np.int32), rng.random(len(items)) < 0.5, ts, unclicked)


@given(st.lists(st.integers(0, 9), min_size=1, max_size=8), st.integers(1, 6), st.integers(0, 99))
def test_the_newest_items_of_chosen_users_are_their_last_ones(lengths: list[int], limit: int, seed: int) -> None:
    users = made_up(lengths, seed)
    chosen = np.random.default_rng(seed).permutation(len(users))[: max(1, len(users) // 2)]
    found = users.chosen(chosen).newest(limit)
    for place, user in enumerate(chosen.tolist()):
        rows = slice(max(users.offsets[user], users.offsets[user + 1] - limit), users.offsets[user + 1])
        here = slice(found.offsets[place], found.offsets[place + 1])
        np.testing.assert_array_equal(found.items[here], users.items[rows])
        np.testing.assert_array_equal(found.beyond_view[here], users.beyond_view[rows])
        np.testing.assert_array_equal(found.before_newest()[here], 10 * np.arange(len(users.items[rows]))[::-1])
        was, now = users.unclicked, found.unclicked
        own, mine = was.items[was.offsets[user] : was.offsets[user + 1]], now.items[now.offsets[place] :]
        np.testing.assert_array_equal(mine[: len(own)], own)


def test_clusters_counted_in_blocks_add_up_to_those_of_all_users() -> None:
    rng = np.random.default_rng(3)
    users = made_up(rng.integers(0, 9, 60).tolist(), 3)
    merchant = np.repeat(np.arange(4, dtype=np.int32), 10)
    rows = np.where(np.arange(40) % 5 == 0, -1, np.arange(40)).astype(np.int32)
    vectors, centroids = (rng.standard_normal((n, 6)).astype(np.float32) for n in (40, 5))
    visits = ClusterVisits(merchant, 4)
    function = ClusteredVisits(rows, vectors, centroids, visits)
    whole = np.sort(function(users))
    blocks = [function(users.chosen(np.arange(first, min(first + 7, 60)))) for first in range(0, 60, 7)]
    np.testing.assert_array_equal(np.sort(np.concatenate(blocks)), whole)
    found = visits.counts(5, *np.unique(whole, return_counts=True))
    expected, visitors = np.zeros((5, 40)), np.zeros((5, 4))
    for user in range(60):
        taken = users.items[users.offsets[user] : users.offsets[user + 1]]
        mean = vectors[rows[taken][rows[taken] >= 0]].sum(axis=0)
        if mean.any():
            cluster = np.argmin(((mean / np.linalg.norm(mean) - centroids) ** 2).sum(axis=1))
            expected[cluster, taken] += 1
            visitors[cluster, np.unique(merchant[taken])] += 1
    np.testing.assert_array_equal(found.item_users.toarray(), expected)
    np.testing.assert_array_equal(found.merchant_users, visitors)


def test_a_sample_is_the_same_whoever_else_is_there_and_a_shard_holds_everyone(trained: Any) -> None:
    timelines = Timelines.of(trained.events, trained.items)
    behaviour = LocalBehaviour(timelines, trained.items)
    (shard,) = behaviour.shards("AA")
    assert len(shard) == timelines.countries.count("AA")
    first = timelines.countries.index("AA")
    own = slice(timelines.offsets[first], timelines.offsets[first + 1])
    strongest: dict[int, bool] = {}
    for item, kind in zip(timelines.items[own].tolist(), timelines.kinds[own].tolist(), strict=True):
        strongest[item] = strongest.get(item, False) or kind != EventKind.view
    end = shard.offsets[1]
    assert dict(zip(shard.items[:end].tolist(), shard.beyond_view[:end].tolist(), strict=True)) == strongest
    ten, twenty = behaviour.sample("AA", 10), behaviour.sample("AA", 20)
    assert (len(ten), len(twenty)) == (10, 20)
    rows = [twenty.items[a:b].tolist() for a, b in zip(twenty.offsets[:-1], twenty.offsets[1:], strict=True)]
    assert all(ten.items[a:b].tolist() in rows for a, b in zip(ten.offsets[:-1], ten.offsets[1:], strict=True))
    assert len(behaviour.sample("AA", 10**6)) == len(shard)


def test_an_item_clicked_and_then_viewed_again_was_clicked(trained: Any) -> None:
    names = trained.items.items.ids()[:3]
    rows = [(names[0], "click"), (names[1], "view"), (names[0], "landing"), (names[2], "view"), (names[0], "view")]
    same = {"user_id": "u", "merchant_id": "m", "country": "AA"}
    events = pa.Table.from_pylist(
        [{"event_id": f"{n}", "ts": n, "item_id": item, "kind": kind, **same} for n, (item, kind) in enumerate(rows)],
        EVENT_SCHEMA,
    )
    (shard,) = LocalBehaviour(Timelines.of(events, trained.items), trained.items).shards("AA")
    assert shard.items.tolist() == trained.items.items.positions([names[1], names[2], names[0]]).tolist()
    assert shard.beyond_view.tolist() == [False, False, True]


@pytest.mark.parametrize("users", [0, 1, 100_000])
def test_users_are_compared_with_centroids_in_blocks(users: int) -> None:
    rng = np.random.default_rng(0)
    means, centroids = rng.standard_normal((users, 2)).astype(np.float32), np.eye(3, 2, dtype=np.float32)
    distances = ((means[:, None] - centroids) ** 2).sum(axis=2)
    np.testing.assert_array_equal(nearest(means, centroids), distances.argmin(axis=1) if users else [])
