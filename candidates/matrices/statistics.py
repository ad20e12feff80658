"""What the events say about items, per country: counts and co-occurrence, from relations to sparse matrices."""

from dataclasses import dataclass

import ibis
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from scipy import sparse

from data.engine import Engine, collect, connect, read_table
from data.ids import UNKNOWN
from data.items import ItemTable
from data.relations import cooccurrences, decayed_item_users, item_counts, user_timelines

_MICROSECONDS_PER_DAY = 86_400_000_000


@dataclass(frozen=True)
class CountryStatistics:
    """One country's I items that somebody there took.

    Attributes:
        country: as in the events.
        users: how many users have a timeline there.
        items: int32 [I], their positions in the item table, ascending, so a merchant's items stay one slice.
        cooccurrence: float64 [I, I], symmetric, zero diagonal: timelines that hold both items.
    """

    country: str
    users: int
    items: NDArray[np.int32]
    cooccurrence: sparse.csr_array


def positioned(events: pa.Table, items: ItemTable, engine: Engine = "duckdb", threads: int | None = None) -> ibis.Table:
    """The events as a table of the engine with item positions (int32) for ids; events of unknown items left out."""
    distinct = events["item_id"].combine_chunks().dictionary_encode()
    codes = distinct.indices.to_numpy()
    positions = items.items.positions(distinct.dictionary.to_pylist())[codes] if len(events) else np.empty(0, np.int32)
    columns = {name: events[name] for name in ("event_id", "user_id", "kind", "ts", "merchant_id", "country")}
    table = pa.table({**columns, "item_id": pa.array(positions, pa.int32())})
    return read_table(connect(engine, threads), table.filter(pc.not_equal(table["item_id"], UNKNOWN)))


def popularity(
    events: ibis.Table, items: ItemTable, window_days: float | None = None, half_life_days: float | None = None
) -> NDArray[np.float32]:
    """float32 [I]: distinct users per item, as the best-of lists count them.

    Args:
        window_days: only events so close to the newest one count.
        half_life_days: a user whose newest event with the item is so much older than the newest of all counts half.
    """
    newest = collect(events.aggregate(newest=events["ts"].max()))["newest"].cast(pa.int64())[0].as_py()
    found = np.zeros(len(items), np.float32)
    if newest is None:
        return found
    start = None if window_days is None else newest - int(window_days * _MICROSECONDS_PER_DAY)
    if half_life_days is None:
        relation = item_counts(events, by=("item_id",), start=start).select("item_id", "users")
    else:
        relation = decayed_item_users(events, newest, half_life_days, start)
    counts = collect(relation)
    found[counts["item_id"].to_numpy()] = counts["users"].to_numpy()
    return found


def country_statistics(
    events: ibis.Table,
    timeline_limit: int = 50,
    minimum_users: int = 1,
) -> list[CountryStatistics]:
    """Per country with at least `minimum_users` users (always the one with most), the largest first.

    Pairs come from views, as the paper has it; a data set without views (ratings, say) is paired over all its kinds.

    Args:
        events: from `positioned`.
        timeline_limit: the newest distinct items of a user that make pairs.
    """
    kinds = collect(events.select("kind").distinct())["kind"].to_pylist()
    everything = user_timelines(events, kinds=kinds, limit=10**9)
    paired = user_timelines(events, kinds=["view"] if "view" in kinds else kinds, limit=timeline_limit)
    known = collect(everything.select("country", "item_id").distinct())
    pairs = collect(cooccurrences(paired))
    users = collect(everything.group_by("country").agg(users=everything["user_id"].nunique()))
    by_size = sorted(
        zip(users["users"].to_pylist(), users["country"].to_pylist(), strict=True), key=lambda x: (-x[0], x[1])
    )
    return [
        _statistics_of(country, count, known, pairs)
        for rank, (count, country) in enumerate(by_size)
        if rank == 0 or count >= minimum_users
    ]


def _statistics_of(country: str, users: int, known: pa.Table, pairs: pa.Table) -> CountryStatistics:
    here = known.filter(pc.equal(known["country"], country))
    items = np.sort(here["item_id"].to_numpy()).astype(np.int32)
    pairs = pairs.filter(pc.equal(pairs["country"], country))
    left = np.searchsorted(items, pairs["item_i"].to_numpy())
    right = np.searchsorted(items, pairs["item_j"].to_numpy())
    counts = pairs["users"].to_numpy().astype(np.float64)
    half = sparse.coo_array((counts, (left, right)), shape=(len(items), len(items)))
    return CountryStatistics(country, users, items, sparse.csr_array(half + half.T))
