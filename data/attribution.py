"""One account of a sale: which banner click earned it. For the report, the ranker's labels and whoever else asks.

Ibis expressions, run by DuckDB or by Spark, as in `data/relations.py`. Columns, in and out:

    banner_clicks(events, slots=None) -> user_id, merchant_id, display_id, item_id, ts, event_id, landed
                                         (and what else `slots` tells)
    clicked_slots(clicks) -> the same columns, one row per slot
    attributed_sales(events, clicks, attribution)
        -> event_id, ts, user_id, merchant_id, country, item_id, order_id, order_value,
           display_id, clicked_item_id, click_event_id, click_ts           (the last four null: not by a banner)
    user_outcomes(clicks, sales) -> experiment, population, user_id, clicks, landed_clicks, sales, order_value

Give the clicks of all displays of a gateway, not of one experiment or window alone: a later click takes a sale from an
earlier one, so whoever leaves clicks out first counts sales twice. Choose displays afterwards, from what was earned.
"""

from typing import Literal

import ibis
from ibis.expr.types import Table

from data.settings import Count, Settings

SLOT = ("user_id", "merchant_id", "display_id", "item_id")
"""What names a slot that was shown to somebody."""

_CLICK = {"display_id": "display_id", "clicked_item_id": "item_id", "click_event_id": "event_id", "click_ts": "ts"}
"""A sale's columns about its click, and the click's own."""

_SALE = ["event_id", "ts", "user_id", "merchant_id", "country", "item_id", "order_id", "order_value"]


class Attribution(Settings):
    """To which click a sale belongs: to one at most. The defaults are the LED paper's rule (section 2.1).

    Attributes:
        window_days: a sale longer than this after the click is nobody's.
        same_item: only a click on the item that was sold may earn the sale; else any item of the merchant's banners.
        to: "last clicked": the user's last click on a banner product of the merchant. "last landed": the last of those
            clicks that reached the merchant's page.
    """

    window_days: Count = 30
    same_item: bool = False
    to: Literal["last clicked", "last landed"] = "last clicked"


DEFAULT = Attribution()


def banner_clicks(events: Table, slots: Table | None = None) -> Table:
    """Every click on a banner, and whether it landed.

    `landed`: the same user's landing with the same merchant, display and item is among the events, whenever it was
    written. Clicks without a display (a cart, in an imported log) are none.

    Args:
        events: event ids must be distinct.
        slots: SLOT and any further columns, which the clicks then carry, such as `relations.shown_slots`: only clicks
            on these slots count. None: every click that names a display counts.
    """
    columns = [*SLOT, "ts", "event_id"]
    clicks = events.filter(events["kind"] == "click", events["display_id"].notnull()).select(*columns)
    landings = events.filter(events["kind"] == "landing", events["display_id"].notnull())
    landings = landings.select(*SLOT).distinct().mutate(landed=True)
    joined = clicks.left_join(landings, SLOT)
    clicks = joined.select(*columns, landed=joined["landed"].fill_null(False))
    return clicks if slots is None else clicks.join(slots.distinct(), SLOT)


def clicked_slots(clicks: Table) -> Table:
    """One row per clicked slot, with its last click: a second click on a slot is not counted again."""
    last_first = ibis.window(group_by=SLOT, order_by=[ibis.desc("ts"), ibis.desc("event_id")])
    clicks = clicks.mutate(again=ibis.row_number().over(last_first))
    return clicks.filter(clicks["again"] == 0).drop("again")


def attributed_sales(events: Table, clicks: Table, attribution: Attribution = DEFAULT) -> Table:
    """Every sale, once, with the banner click it belongs to, or nulls. Event ids must be distinct.

    It is the user's last click at this merchant up to the moment of the sale, if that is at most `window_days` before
    (both ends included); among clicks of the same microsecond, the one with the greatest event id.

    Args:
        clicks: as `banner_clicks` gives them.
    """
    if attribution.to == "last landed":
        clicks = clicks.filter(clicks["landed"])
    key = ["user_id", "merchant_id", *(["item_id"] if attribution.same_item else [])]
    sales = events.filter(events["kind"] == "sale").select(*_SALE)
    order = [*key, "ts", "event_id"]
    sold = _last_clicks(clicks.select(*order, **_CLICK), sales.select(*order), key)
    in_time = sold["ts"] <= sold["click_ts"] + ibis.interval(days=attribution.window_days)
    return sales.left_join(sold.filter(in_time).select("event_id", *_CLICK), "event_id").select(*_SALE, *_CLICK)


def user_outcomes(clicks: Table, sales: Table, by: tuple[str, ...] = ("experiment", "population", "user_id")) -> Table:
    """What the users of each population did: one row per value of `by` with a click or a sale.

    int64 clicks, landed_clicks, sales; float64 order_value. Both count for the population of the display.

    Args:
        clicks: of `banner_clicks`, with the columns `by`.
        sales: of `attributed_sales` from all clicks; those that none of `clicks` earned are left out.
    """
    slots = clicked_slots(clicks)
    landed = slots["landed"].cast("int64")
    clicked = slots.select(*by, clicks=1, landed_clicks=landed, sales=0, order_value=ibis.literal(0.0))
    about = clicks.select(*(name for name in by if name not in sales.columns), click_event_id="event_id")
    earned = sales.join(about, "click_event_id")
    sold = earned.select(*by, clicks=0, landed_clicks=ibis.literal(0).cast("int64"), sales=1, order_value="order_value")
    both = ibis.union(clicked, sold.select(*clicked.columns).cast(clicked.schema()), distinct=False)
    figures = ("clicks", "landed_clicks", "sales", "order_value")
    return both.group_by(list(by)).agg(**{name: both[name].sum() for name in figures})


def _last_clicks(clicks: Table, sales: Table, key: list[str]) -> Table:
    """Each sale with the last click of its key up to its moment, or nulls.

    This is an as-of join, written as a running count of clicks, which numbers the stretch of time over which each click
    reigns: Spark has no as-of join by default.
    """
    no_click = {name: ibis.null(clicks[name].type()) for name in _CLICK}
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
        is_sale=marks["click_ts"].isnull(), **{name: marks[name].max().over(in_reign) for name in _CLICK}
    )
    return sold.filter(sold["is_sale"])
