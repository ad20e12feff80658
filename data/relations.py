"""Relational steps, each written once as an Ibis expression and run by DuckDB or by Spark (`data/engine.py`).

Who earned a sale is told by `data/attribution.py`.

Every function takes tables and returns a table; nothing is computed before `engine.collect`. Columns, in and out:

    first_of_each(table, key, order) -> the table, of rows with one key the first
    distinct_events(events) -> the events, the earliest of each event_id
    item_counts(events, by=("merchant_id", "item_id"), start=None, end=None)
        -> by..., views, clicks, landings, sales, users
    decayed_item_users(events, until, half_life_days, start=None) -> item_id, users    (users: float64)
    user_timelines(events, kinds=("view",), limit=50, start=None, end=None)
        -> user_id, country, item_id, merchant_id, kind, ts, event_id, beyond_view, age
           (distinct user-item pairs; age 0: newest)
    cooccurrences(timelines, at_least=1) -> country, item_i, item_j, users  (item_i < item_j: each pair once)
    shown_slots(displays) -> display_id, ts, user_id, merchant_id, country, experiment, population,
                             position, item_id, category, sources, score

`events` are of EVENT_SCHEMA and `displays` of DISPLAY_SCHEMA; only the columns a function reads have to be there, and
ids may be strings or positions. Times are the tables' own UTC timestamps; bounds are microseconds or datetimes.
Strings are compared by their bytes, which both engines and Python do alike.
"""

import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import ibis
from ibis.expr.types import BooleanColumn, Table

from data.request import HISTORY_LIMIT

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def first_of_each(table: Table, key: str, order: Sequence[str]) -> Table:
    """Of the rows with one `key`, the first by `order`: tables have no order, so the rows' own values decide."""
    place = ibis.row_number().over(ibis.window(group_by=key, order_by=list(order)))
    return table.mutate(_place=place).filter(lambda numbered: numbered["_place"] == 0).drop("_place")


def distinct_events(events: Table) -> Table:
    """One event per event_id: the earliest; among those the least user, item, kind, merchant."""
    return first_of_each(events, "event_id", ("ts", "user_id", "item_id", "kind", "merchant_id"))


def item_counts(
    events: Table,
    by: Sequence[str] = ("merchant_id", "item_id"),
    start: datetime | int | None = None,
    end: datetime | int | None = None,
) -> Table:
    """Events of each kind (int64) and distinct users per item, of start <= ts < end."""
    events = events.filter(*_within(events, start, end))
    return events.group_by(list(by)).agg(
        views=(events["kind"] == "view").sum(),
        clicks=(events["kind"] == "click").sum(),
        landings=(events["kind"] == "landing").sum(),
        sales=(events["kind"] == "sale").sum(),
        users=events["user_id"].nunique(),
    )


def decayed_item_users(
    events: Table, until: datetime | int, half_life_days: float, start: datetime | int | None = None
) -> Table:
    """Distinct users per item, of start <= ts, each counting 2 ** (-age / half-life): float64 `users`.

    The age of a user's interest in an item is the time from their newest event with it to `until`, in whole seconds.
    """
    per_user = events.filter(*_within(events, start, None)).group_by(["item_id", "user_id"])
    last = per_user.agg(last=events["ts"].max())
    age_days = (ibis.literal(_moment(until)).epoch_seconds() - last["last"].epoch_seconds()) / 86_400.0
    weighed = last.mutate(weight=(age_days * (-math.log(2) / half_life_days)).exp())
    return weighed.group_by("item_id").agg(users=weighed["weight"].sum())


def user_timelines(
    events: Table,
    kinds: Sequence[str] = ("view",),
    limit: int = HISTORY_LIMIT,
    start: datetime | int | None = None,
    end: datetime | int | None = None,
) -> Table:
    """The newest `limit` distinct items of each user, of start <= ts < end, ties in time broken by event id.

    A row is the newest event of its user with its item; `beyond_view` says whether any of these was more than a view.
    `age` (int64) counts from the newest item, which has 0; `country` is that of the user's newest item, so a timeline
    lies in one country, as in `data/timelines.py`.
    """
    events = events.filter(events["kind"].isin(list(kinds)), *_within(events, start, end))
    columns = ["user_id", "country", "item_id", "merchant_id", "kind", "ts", "event_id"]
    newest_first = [ibis.desc("ts"), ibis.desc("event_id")]
    per_item = ibis.window(group_by=["user_id", "item_id"], order_by=newest_first)
    of_pair = ibis.window(group_by=["user_id", "item_id"])
    beyond_view = (events["kind"] != "view").any().over(of_pair)
    items = events.select(*columns, beyond_view=beyond_view, again=ibis.row_number().over(per_item))
    items = items.filter(items["again"] == 0).drop("again")
    per_user = ibis.window(group_by="user_id", order_by=newest_first)
    items = items.mutate(age=ibis.row_number().over(per_user), country=items["country"].first().over(per_user))
    return items.filter(items["age"] < limit)


def cooccurrences(timelines: Table, at_least: int = 1) -> Table:
    """n_ij: how many timelines of a country hold both items, each pair once (item_i < item_j), n_ij >= at_least.

    n is symmetric, so half of it is enough, and half is what two engines have to write. A timeline of T items makes
    T (T - 1) / 2 pairs: cap timelines first, as `user_timelines` does.
    """
    left = timelines.select("user_id", "country", item_i="item_id")
    right = timelines.select("user_id", item_j="item_id").view()
    pairs = left.join(right, [left["user_id"] == right["user_id"], left["item_i"] < right["item_j"]])
    pairs = pairs.select("country", "item_i", "item_j")
    counted = pairs.group_by(["country", "item_i", "item_j"]).agg(users=pairs.count())
    return counted.filter(counted["users"] >= at_least) if at_least > 1 else counted


def shown_slots(displays: Table) -> Table:
    """One row per slot of every display."""
    about = ["display_id", "ts", "user_id", "merchant_id", "country", "experiment", "population"]
    slots = displays.select(*about, slot=displays["slots"].unnest())
    fields = ["position", "item_id", "category", "sources", "score"]
    return slots.select(*about, **{name: slots["slot"][name] for name in fields})


def _within(events: Table, start: datetime | int | None, end: datetime | int | None) -> list[BooleanColumn]:
    """Conditions for start <= ts < end (None: open), at least one: Ibis takes no empty list of them."""
    bounds: list[BooleanColumn] = []
    if start is not None:
        bounds.append(events["ts"] >= _moment(start))
    if end is not None:
        bounds.append(events["ts"] < _moment(end))
    return bounds or [ibis.literal(True)]


def _moment(moment: datetime | int) -> datetime:
    return _EPOCH + timedelta(microseconds=moment) if isinstance(moment, int) else moment
