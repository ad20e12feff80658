"""What the events say about items, per country: counts and co-occurrence, from relations to sparse matrices."""

from dataclasses import dataclass

import ibis
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from scipy import sparse

from candidates.matrices.pmi import ItemTimelines
from data.engine import Engine, collect, connect, read_table
from data.ids import UNKNOWN
from data.items import ItemTable
from data.relations import cooccurrences, decayed_item_users, item_counts, user_timelines
from data.schema import DAY_US


@dataclass(frozen=True)
class CountryStatistics:
    """One country's I items that somebody there took.

    Attributes:
        country: as in the events.
        users: how many users have a timeline there.
        items: int32 [I], their positions in the item table, ascending, so a merchant's items stay one slice.
        cooccurrence: float64 [I, I], symmetric, zero diagonal: timelines that hold both items.
        timelines: those that pairs are made of.
    """

    country: str
    users: int
    items: NDArray[np.int32]
    cooccurrence: sparse.csr_array
    timelines: ItemTimelines


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
    newest = _newest(events)
    found = np.zeros(len(items), np.float32)
    if newest is None:
        return found
    start = _start(newest, window_days)
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
    period_days: float | None = None,
) -> list[CountryStatistics]:
    """Per country with at least `minimum_users` users (always the one with most), the largest first.

    Pairs come from views, as the paper has it; a data set without views (ratings, say) is paired over all its kinds.

    Args:
        events: from `positioned`.
        timeline_limit: the newest distinct items of a user that make pairs.
        period_days: only events so close to the newest one make pairs.
    """
    kinds = collect(events.select("kind").distinct())["kind"].to_pylist()
    everything = user_timelines(events, kinds=kinds, limit=10**9)
    start = _start(_newest(events), period_days)
    paired = user_timelines(events, ["view"] if "view" in kinds else kinds, timeline_limit, start)
    known = collect(everything.select("country", "item_id").distinct())
    pairs = collect(cooccurrences(paired))
    held = collect(paired.group_by("country", "item_id").agg(users=paired["user_id"].nunique()))
    timelines = collect(paired.group_by("country").agg(users=paired["user_id"].nunique()))
    users = collect(everything.group_by("country").agg(users=everything["user_id"].nunique()))
    by_size = sorted(
        zip(users["users"].to_pylist(), users["country"].to_pylist(), strict=True), key=lambda x: (-x[0], x[1])
    )
    return [
        _statistics_of(country, count, known, pairs, held, timelines)
        for rank, (count, country) in enumerate(by_size)
        if rank == 0 or count >= minimum_users
    ]


def _statistics_of(
    country: str, users: int, known: pa.Table, pairs: pa.Table, held: pa.Table, timelines: pa.Table
) -> CountryStatistics:
    known, pairs, held, timelines = (
        one.filter(pc.equal(one["country"], country)) for one in (known, pairs, held, timelines)
    )
    items = np.sort(known["item_id"].to_numpy()).astype(np.int32)
    left = np.searchsorted(items, pairs["item_i"].to_numpy())
    right = np.searchsorted(items, pairs["item_j"].to_numpy())
    counts = pairs["users"].to_numpy().astype(np.float64)
    half = sparse.coo_array((counts, (left, right)), shape=(len(items), len(items)))
    of_item = np.zeros(len(items))
    of_item[np.searchsorted(items, held["item_id"].to_numpy())] = held["users"].to_numpy()
    total = int(timelines["users"][0].as_py()) if len(timelines) else 0
    return CountryStatistics(country, users, items, sparse.csr_array(half + half.T), ItemTimelines(of_item, total))


def _newest(events: ibis.Table) -> int | None:
    """Microseconds; None without an event."""
    newest: int | None = collect(events.aggregate(newest=events["ts"].max()))["newest"].cast(pa.int64())[0].as_py()
    return newest


def _start(newest: int | None, days: float | None) -> int | None:
    """So many days before the newest event; None: from the first on."""
    return None if newest is None or days is None else newest - int(days * DAY_US)
