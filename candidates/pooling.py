"""Examples for the ranker before there is a display log: candidates pooled at past moments, labelled by what followed.

A moment is a visit: a user was about to look at a merchant's items. At that moment every source is asked what it would
have proposed, and each pooled item is a positive if the user took it from then on, within a horizon. What no source
proposed is not an example, even if the user took it: the ranker is never asked about such items, and as examples they
would be positives one and all, a mark of their own that serving never shows. Items the user had taken before stay in,
as they do in serving.
"""

import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from candidates.config import CandidatesConfig
from candidates.errors import CandidatesError
from candidates.merge_order import ROUND_ROBIN, MergeOrder
from candidates.pool import pool_proposals
from candidates.proposals import CandidateSource
from candidates.sources import load_sources_from
from candidates.training import train_candidates
from data.console import progress_bar
from data.engine import Engine
from data.examples import EXAMPLE_SCHEMA, UNKNOWN_SLOT
from data.items import ItemTable
from data.request import Request
from data.schema import DAY_US, TIMESTAMP
from data.timelines import Timelines


def pool_examples(
    sources: Mapping[str, CandidateSource],
    timelines: Timelines,
    items: ItemTable,
    cut_ts: int,
    horizon_us: int = 7 * DAY_US,
    k: int = 50,
    negatives: int | None = None,
    max_requests: int = 10_000,
    seed: int = 0,
    order: MergeOrder = ROUND_ROBIN,
) -> pa.Table:
    """Labelled rows of one request per (user, merchant) visited from `cut_ts` on, at a random one of the visits.

    Args:
        sources: trained on events before `cut_ts` only; otherwise their proposals know the labels.
        timelines: with the events before and after `cut_ts`.
        horizon_us: microseconds after the moment in which taking an item makes it a positive.
        k: candidates asked of each source.
        negatives: at most so many unlabelled candidates are kept per request, drawn at random; None: all. With fewer,
            the share of positives and the places of the items are not those of serving.
        max_requests: at most so many requests, drawn at random.
        order: how the proposals are merged.

    Returns:
        A table of EXAMPLE_SCHEMA, requests in order of time; the items of a request as they would stand without a
        ranker (`Pool.own_order`).
    """
    rng = np.random.default_rng(seed)
    rows = _moments(timelines, items, cut_ts, max_requests, rng)
    user_of_row = timelines.user_of_event()
    parts: list[tuple[int, NDArray[np.int32], NDArray[np.bool_]]] = []
    with progress_bar("pooling candidates", len(rows)) as bar:
        for row in rows.tolist():
            bar.advance()
            request, taken = _request_at(timelines, items, int(user_of_row[row]), row, horizon_us)
            pool = pool_proposals({name: source.propose(request, k) for name, source in sources.items()}, order)
            pooled = pool.items[pool.own_order()]
            kept = _sample(np.sort(pooled), taken, negatives, rng)
            pooled = pooled[np.isin(pooled, kept)]
            parts.append((row, pooled, np.isin(pooled, taken)))
    return _table(timelines, items, user_of_row, parts)


def bootstrap_examples(
    events: pa.Table,
    items: ItemTable,
    config: CandidatesConfig | None = None,
    later_share: float = 0.2,
    horizon_days: float = 7.0,
    k: int = 50,
    negatives: int | None = None,
    max_requests: int = 10_000,
    engine: Engine = "duckdb",
    seed: int = 0,
) -> pa.Table:
    """Train sources on the older events, pool them over the newest `later_share`: examples without a leak.

    Raises:
        CandidatesError: too few events on either side of the cut.
    """
    ts = np.sort(events["ts"].cast(pa.int64()).to_numpy())
    if len(ts) < 2:
        raise CandidatesError(f"pooling examples needs events on both sides of a moment, found {len(ts)} events")
    cut_ts = int(ts[min(len(ts) - 1, int((1 - later_share) * len(ts)))])
    earlier = events.filter(pc.less(events["ts"], pa.scalar(cut_ts, TIMESTAMP)))
    with tempfile.TemporaryDirectory(prefix="tandem-") as folder:
        train_candidates(Path(folder), items, earlier, config, engine, seed)
        sources = load_sources_from(Path(folder), items)
        timelines = Timelines.of(events, items)
        horizon_us = int(horizon_days * DAY_US)
        order = MergeOrder.load(Path(folder))
        return pool_examples(sources, timelines, items, cut_ts, horizon_us, k, negatives, max_requests, seed, order)


def _moments(
    timelines: Timelines, items: ItemTable, cut_ts: int, max_requests: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Event rows, one at random of each (user, merchant) with an event from cut_ts on; in order of time."""
    later = rng.permutation(np.flatnonzero(timelines.ts >= cut_ts))
    key = timelines.user_of_event()[later].astype(np.int64) * len(items.merchants)
    _, first = np.unique(key + items.merchant[timelines.items[later]], return_index=True)
    rows = rng.permutation(later[first])[:max_requests]
    return rows[np.lexsort((rows, timelines.ts[rows]))]


def _request_at(
    timelines: Timelines, items: ItemTable, user: int, row: int, horizon_us: int
) -> tuple[Request, NDArray[np.int32]]:
    """The request just before event `row`, and the items the user took from then on within the horizon."""
    ts, end = int(timelines.ts[row]), int(timelines.offsets[user + 1])
    start = int(timelines.offsets[user])
    first, last = start + np.searchsorted(timelines.ts[start:end], [ts, ts + horizon_us])
    request = Request(
        user_id=timelines.users[user],
        merchant=int(items.merchant[timelines.items[row]]),
        country=timelines.countries[user],
        ts=ts,
        history=timelines.history(user, before=ts),
    )
    return request, timelines.items[first:last]


def _sample(
    pooled: NDArray[np.int32], taken: NDArray[np.int32], negatives: int | None, rng: np.random.Generator
) -> NDArray[np.int32]:
    """All of the items that were taken, and at most `negatives` others."""
    others = pooled[~np.isin(pooled, taken)]
    if negatives is None or len(others) <= negatives:
        return pooled
    return np.concatenate([pooled[np.isin(pooled, taken)], rng.choice(others, negatives, replace=False)])


def _table(
    timelines: Timelines,
    items: ItemTable,
    user_of_row: NDArray[np.int32],
    parts: list[tuple[int, NDArray[np.int32], NDArray[np.bool_]]],
) -> pa.Table:
    rows = np.array([row for row, _, _ in parts], np.int64)
    of_example = np.repeat(np.arange(len(parts)), [len(pooled) for _, pooled, _ in parts])
    positions = np.concatenate([np.empty(0, np.int32), *(pooled for _, pooled, _ in parts)])
    label = np.concatenate([np.empty(0, bool), *(found for _, _, found in parts)])
    users = user_of_row[rows]
    merchants = items.merchant[timelines.items[rows]]
    per_request = {
        "request_id": [f"pooled-{place}" for place in range(len(parts))],
        "user_id": [timelines.users[user] for user in users.tolist()],
        "merchant_id": [items.merchants.id(merchant) for merchant in merchants.tolist()],
        "country": [timelines.countries[user] for user in users.tolist()],
    }
    distinct, of_distinct = np.unique(positions, return_inverse=True)
    item_ids = pa.array([items.items.id(position) for position in distinct.tolist()], pa.string())
    taken = pa.array(of_example)
    columns = {name: pa.array(values, pa.string()).take(taken) for name, values in per_request.items()}
    empty = pa.array([""], pa.string()).take(pa.array(np.zeros(len(label), np.int64)))
    columns |= {
        "ts": pa.array(timelines.ts[rows]).take(taken).cast(TIMESTAMP),
        "publisher": empty,
        "device": empty,
        "item_id": item_ids.take(pa.array(of_distinct)),
        "position": pa.array(np.full(len(label), UNKNOWN_SLOT, np.int32)),
        "label": pa.array(label.astype(np.int8)),
    }
    return pa.table([columns[name] for name in EXAMPLE_SCHEMA.names], schema=EXAMPLE_SCHEMA)
