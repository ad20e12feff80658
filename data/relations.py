"""Relational steps, each written once as an Ibis expression and run by DuckDB or by Spark (`data/engine.py`).

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
    banner_clicks(events) -> user_id, merchant_id, display_id, item_id, ts, event_id, landed
    attributed_sales(events, window_days=30, same_item=False, rule="last click", clicks=None)
        -> event_id, ts, user_id, merchant_id, country, item_id, order_id, order_value,
           display_id, clicked_item_id, click_event_id, click_ts           (the last four null: not by a banner)
    shown_slots(displays) -> display_id, ts, user_id, merchant_id, country, experiment, population,
                             position, item_id, category, sources, score
    user_aggregates(displays, events, window_days=30)
        -> experiment, population, user_id, displays, slots, clicks, landed_clicks, sales, order_value

`events` are of EVENT_SCHEMA and `displays` of DISPLAY_SCHEMA; only the columns a function reads have to be there, and
ids may be strings or positions. Times are the tables' own UTC timestamps; bounds are microseconds or datetimes.
Strings are compared by their bytes, which both engines and Python do alike.
"""

import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Literal

import ibis
from ibis.expr.types import BooleanColumn, Table

from data.request import HISTORY_LIMIT

ATTRIBUTION_DAYS = 30
"""A sale longer than this after the click is nobody's."""

Rule = Literal["last click", "every click"]
"""To which of several clicks a sale belongs."""

_SLOT = ["user_id", "display_id", "item_id"]
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


def banner_clicks(events: Table) -> Table:
    """The clicked slots of banners: one row per user, display and item, with its last click.

    A second click on the same slot is not counted again. `landed`: the same user's landing with the same display and
    item is among the events, whenever it was written. Clicks without a display (a cart, in an imported log) are none.
    """
    clicks = _clicks(events)
    last_first = ibis.window(group_by=_SLOT, order_by=[ibis.desc("ts"), ibis.desc("event_id")])
    clicks = clicks.mutate(again=ibis.row_number().over(last_first))
    return clicks.filter(clicks["again"] == 0).drop("again")


def attributed_sales(
    events: Table,
    window_days: int = ATTRIBUTION_DAYS,
    same_item: bool = False,
    rule: Rule = "last click",
    clicks: Table | None = None,
) -> Table:
    """Every sale, with the banner click it belongs to, or nulls. Event ids must be distinct.

    A sale may belong to the user's landed clicks on banners of the same merchant, at most `window_days` before it (both
    ends included).

    Args:
        same_item: only to clicks on the item sold.
        rule: "last click": to the last of them alone; among clicks of the same microsecond, to the one with the
            greatest event id. "every click": to each of them; a row each.
        clicks: user_id, merchant_id, display_id, item_id, ts, event_id: what may earn a sale, and from when on,
            instead of the landed clicks of the events.
    """
    clicks = landed_clicks(events) if clicks is None else clicks
    key = ["user_id", "merchant_id", *(["item_id"] if same_item else [])]
    columns = ["event_id", "ts", "user_id", "merchant_id", "country", "item_id", "order_id", "order_value"]
    sales = events.filter(events["kind"] == "sale").select(*columns)
    click = {"display_id": "display_id", "clicked_item_id": "item_id", "click_event_id": "event_id", "click_ts": "ts"}
    order = [*key, "ts", "event_id"]
    as_click, to_sell = clicks.select(*order, **click), sales.select(*order)
    sold = _last_clicks(as_click, to_sell, key, list(click)) if rule == "last click" else (
        to_sell.join(as_click.drop("ts", "event_id"), key)
    )  # fmt: skip
    window = ibis.interval(days=window_days)
    in_time = (sold["click_ts"] <= sold["ts"]) & (sold["ts"] <= sold["click_ts"] + window)
    return sales.left_join(sold.filter(in_time).select("event_id", *click), "event_id").select(*columns, *click)


def _last_clicks(clicks: Table, sales: Table, key: list[str], click: list[str]) -> Table:
    """Each sale with the last click of its key up to its moment, or nulls.

    This is an as-of join, written as a running count of clicks, which numbers the stretch of time over which each click
    reigns: Spark has no as-of join by default.
    """
    no_click = {name: ibis.null(clicks[name].type()) for name in click}
    marks = ibis.union(clicks, sales.mutate(**no_click).select(*clicks.columns), distinct=False)
    so_far = ibis.window(
        group_by=key,
        order_by=["ts", marks["click_ts"].isnull(), "event_id"],  # a click at the moment of the sale comes before it
        preceding=None,
        following=0,
    )
    marks = marks.mutate(reign=marks["click_ts"].count().over(so_far))
    in_reign = ibis.window(group_by=[*key, "reign"])
    sold = marks.mutate(
        is_sale=marks["click_ts"].isnull(), **{name: marks[name].max().over(in_reign) for name in click}
    )
    return sold.filter(sold["is_sale"])


def shown_slots(displays: Table) -> Table:
    """One row per slot of every display."""
    about = ["display_id", "ts", "user_id", "merchant_id", "country", "experiment", "population"]
    slots = displays.select(*about, slot=displays["slots"].unnest())
    fields = ["position", "item_id", "category", "sources", "score"]
    return slots.select(*about, **{name: slots["slot"][name] for name in fields})


def user_aggregates(displays: Table, events: Table, window_days: int = ATTRIBUTION_DAYS) -> Table:
    """What each user of each population was shown and did: one row per experiment, population and user shown a banner.

    int64 displays, slots, clicks, landed_clicks, sales; float64 order_value. A click counts for the population of the
    display it names, if user, merchant and item are those of one of its slots; any other click counts for nobody and
    earns no sale. Give all displays of the log, not one experiment's: a later click takes a sale from an earlier one.
    """
    unit = ["experiment", "population", "user_id"]
    shown = displays.group_by(unit).agg(displays=displays.count(), slots=displays["slots"].length().sum())
    slot = ["display_id", "user_id", "merchant_id", "item_id"]
    is_sale = events["kind"] == "sale"
    events = ibis.union(
        events.filter(~is_sale).semi_join(shown_slots(displays).select(*slot), slot),
        events.filter(is_sale),
        distinct=False,
    )
    population = displays.select("display_id", "experiment", "population")
    clicks = banner_clicks(events).join(population, "display_id")
    clicked = clicks.group_by(unit).agg(clicks=clicks.count(), landed_clicks=clicks["landed"].cast("int64").sum())
    sales = attributed_sales(events, window_days).join(population, "display_id")
    sold = sales.group_by(unit).agg(sales=sales.count(), order_value=sales["order_value"].sum())
    figures = ["clicks", "landed_clicks", "sales", "order_value"]
    joined = shown.left_join(clicked, unit).select(*shown.columns, *figures[:2])
    joined = joined.left_join(sold, unit).select(*joined.columns, *figures[2:])
    return joined.mutate(**{name: joined[name].fill_null(0) for name in figures})


def landed_clicks(events: Table) -> Table:
    """Every click on a banner that landed: user_id, merchant_id, display_id, item_id, ts, event_id."""
    clicks = _clicks(events)
    return clicks.filter(clicks["landed"]).drop("landed")


def _clicks(events: Table) -> Table:
    """Every click on a banner, and whether it landed."""
    columns = ["user_id", "merchant_id", "display_id", "item_id", "ts", "event_id"]
    clicks = events.filter(events["kind"] == "click", events["display_id"].notnull()).select(*columns)
    landings = events.filter(events["kind"] == "landing", events["display_id"].notnull())
    landings = landings.select(*_SLOT).distinct().mutate(landed=True)
    joined = clicks.left_join(landings, _SLOT)
    return joined.select(*columns, landed=joined["landed"].fill_null(False))


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
