"""Shops and advertisers: views, carts, clicks and sales. Published layouts of their owners."""

import pyarrow as pa
import pyarrow.compute as pc

from data.importers import catalogs
from data.importers.forms import (
    EventFile,
    Field,
    Format,
    Further,
    LeaveOut,
    constant,
    identity,
    is_one_of,
    kind,
    moment,
    number,
    of_one_merchant,
    optional,
    product,
    text,
)
from data.readers.columns import numbers, texts
from data.readers.delimited import Layout
from data.readers.source import Source

SALE_VALUE = 1.0
"""Of sources without prices: every sale counts the same."""
UNKNOWN_BRAND = "unknown"
"""The merchant of rows that name no brand. (The sample of REES46 writes 3425: a merchant like any other.)"""
_TIME = r"\d{4}-\d\d-\d\dT[\d:.]+Z"


def _rees46_price(source: Source) -> pa.ChunkedArray:
    if source.has("price"):
        return numbers(source, "price")
    source.column("price_z")
    return pc.exp(numbers(source, "price_z", least=None))


def _rees46_category(source: Source) -> pa.ChunkedArray:
    """A category id lies within one category code, so code/id is a path; published codes have levels of their own."""
    code, category = texts(source, "category_code"), texts(source, "category_id")
    return pc.utf8_trim(pc.binary_join_element_wise(pc.replace_substring(code, ".", "/"), category, "/"), "/")


def _rees46_brand(source: Source) -> pa.ChunkedArray:
    name = next((one for one in ("brand_id", "brand") if source.has(one)), "brand_id")
    source.column(name)
    return texts(source, name, UNKNOWN_BRAND)


_REES46_PRICE = Field(_rees46_price, ("price", "price_z"))
_REES46 = Format(
    "rees46",
    "The monthly files as published (`event_time`, `event_type`, `product_id`, `brand`, `price`, ...) or the sample "
    "(`ts`, `user_id`, `event`, `item_id`, `category_code`, `category_id`, `brand_id`, `price_z`). The **brand is the "
    "merchant**; rows without one belong to `unknown` (the sample writes `3425`). View = view; cart = **click**, the "
    "nearest kind; purchase = sale worth the item's price; removals from a cart and rows with a negative price are "
    "left out. The sample's `price_z` is a standardised log price: the price kept is its exponential, which compares "
    "items but is in no currency. The category is `category_code/category_id`.",
    tuple(
        EventFile(
            {
                "ts": moment("ts", "event_time"),
                "user_id": identity("user_id"),
                "kind": kind({"view": "view", "cart": "click", "purchase": "sale"}, event),
                "item_id": identity("item_id", "product_id"),
                "merchant_id": Field(_rees46_brand, ("brand_id", "brand")),
                "order_value": _REES46_PRICE,
                "category": Field(_rees46_category, ("category_code", "category_id")),
                "price": _REES46_PRICE,
            },
            names,
            signature=signature,
            leave_out=(
                LeaveOut("removals from a cart", is_one_of(event, "remove_from_cart")),
                LeaveOut(
                    "rows with a negative price",
                    Field(lambda source: pc.match_substring_regex(texts(source, "price"), r"^\s*-"), ("price",)),
                ),
            ),
        )
        for event, names, signature in (
            ("event_type", ("20[0-9][0-9]-*.csv",), ("event_time", "event_type", "product_id", "user_id")),
            ("event", (), ("ts", "user_id", "event", "item_id", "brand_id", "price_z")),
        )
    ),
)

_RETAILROCKET = Format(
    "retailrocket",
    "`events.csv` as published (`timestamp`, `visitorid`, `event`, `itemid`, `transactionid`) or the buyers (`ts`, "
    "`user`, `event`, `item`). View = view, addtocart = **click**, transaction = sale. There are no prices: **every "
    "sale is worth 1**. `item_properties_part1.csv`, `part2` and `category_tree.csv` beside it say each item's newest "
    "category (its path in the tree) and whether it is available.",
    tuple(
        EventFile(
            of_one_merchant(
                "retailrocket",
                kind({"view": "view", "addtocart": "click", "transaction": "sale"}, "event"),
                ts=moment(ts),
                user_id=identity(user),
                item_id=identity(item),
                order_id=optional("transactionid"),
                order_value=constant(SALE_VALUE),
            ),
            signature=(ts, user, "event", item),
        )
        for ts, user, item in (("timestamp", "visitorid", "itemid"), ("ts", "user", "item"))
    ),
    ("ts", "user_id", "kind", "item_id", "order_id"),
    catalogs.retailrocket_items,
    ("item_properties*.csv", "category_tree.csv"),
)

_YOOCHOOSE_CATEGORY = Field(
    lambda source: pc.if_else(pc.is_in(texts(source, "category"), pa.array(["0", "S"])), "", texts(source, "category")),
    ("category",),
)
_YOOCHOOSE = Format(
    "yoochoose",
    "`yoochoose-clicks.dat` and `yoochoose-buys.dat` (name the folder, or both). **A session is a user.** Clicks on "
    "items = views; buys = sales worth price times quantity. A category `0` (missing) or `S` (special offer) is "
    "unknown.",
    (
        EventFile(
            of_one_merchant(
                "yoochoose",
                "view",
                ts=moment("timestamp"),
                user_id=identity("session"),
                item_id=identity("item"),
                category=_YOOCHOOSE_CATEGORY,
            ),
            ("yoochoose-clicks*",),
            Layout(",", ("session", "timestamp", "item", "category")),
            shape=rf"\d+\t{_TIME}\t\d+\t(S|\d+)",
        ),
        EventFile(
            of_one_merchant(
                "yoochoose",
                "sale",
                ts=moment("timestamp"),
                user_id=identity("session"),
                item_id=identity("item"),
                order_value=product("price", "quantity"),
                price=number("price"),
            ),
            ("yoochoose-buys*",),
            Layout(",", ("session", "timestamp", "item", "price", "quantity")),
            shape=rf"\d+\t{_TIME}\t\d+\t\d+\t\d+",
        ),
    ),
)


def _diginetica_user(source: Source) -> pa.ChunkedArray:
    """The user where there is one, else the session."""
    user = texts(source, "userId")
    session = pc.binary_join_element_wise("session", identity("sessionId").read(source), ":")
    return pc.if_else(pc.is_in(user, pa.array(["", "NA"])), session, user)


def _day_and_offset(source: Source) -> pa.ChunkedArray:
    """The day, and the milliseconds since the session began."""
    day = moment("eventdate").read(source)
    offset = pc.cast(pc.fill_null(numbers(source, "timeframe"), 0.0), pa.int64(), safe=False)
    return pc.cast(pc.add(pc.cast(day, pa.int64()), pc.multiply(offset, 1000)), day.type)


_DIGINETICA_EVENT = {
    "ts": Field(_day_and_offset, ("eventdate", "timeframe")),
    "user_id": Field(_diginetica_user, ("userId", "sessionId")),
    "item_id": identity("itemId"),
}
_DIGINETICA_COLUMNS = ("sessionId", "userId", "itemId", "timeframe", "eventdate")
_DIGINETICA = Format(
    "diginetica",
    "`train-item-views.csv` and `train-purchases.csv` (name the folder, or both), separated by `;`. The user is "
    "`userId`, where that is `NA` the session; the time is `eventdate` plus the `timeframe` in milliseconds. There are "
    "no order values: **every sale is worth 1**. Prices and categories come from `products.csv` and "
    "`product-categories.csv` beside them.",
    (
        EventFile(
            of_one_merchant("diginetica", "view", **_DIGINETICA_EVENT),
            ("train-item-views.csv",),
            signature=_DIGINETICA_COLUMNS,
        ),
        EventFile(
            of_one_merchant(
                "diginetica",
                "sale",
                **_DIGINETICA_EVENT,
                order_id=optional("ordernumber"),
                order_value=constant(SALE_VALUE),
            ),
            ("train-purchases.csv",),
            signature=(*_DIGINETICA_COLUMNS, "ordernumber"),
        ),
    ),
    ("ts", "user_id", "kind", "item_id", "order_id"),
    catalogs.diginetica_items,
    ("products.csv", "product-categories.csv"),
)

_HM = Format(
    "hm",
    "H&M's `transactions_train.csv`: each row is **one sale worth its `price`**, at the day's beginning; rows that are "
    "equal are several pieces, and each counts. Article numbers keep their leading zeros. Titles and categories come "
    "from `articles.csv` beside it.",
    (
        EventFile(
            of_one_merchant(
                "hm",
                "sale",
                ts=moment("t_dat"),
                user_id=identity("customer_id"),
                item_id=identity("article_id"),
                order_value=number("price", required=True),
                price=number("price"),
            ),
            ("transactions_train.csv",),
            signature=("t_dat", "customer_id", "article_id", "price"),
        ),
    ),
    "content",
    catalogs.hm_items,
    ("articles.csv",),
)


_SALE_OF_CLICK = Field(lambda source: pc.equal(texts(source, "conversion"), "1"), ("conversion",))
_ATTRIBUTION = Format(
    "criteo-attribution",
    "`criteo_attribution_dataset.tsv.gz`: impressions of campaigns. The item is the campaign; **a clicked impression "
    "is a click**, and where it led to a conversion **also a sale worth 1** (one for each `conversion_id`); others are "
    "left out. Times are seconds since an unknown start: they count from 2000-01-01.",
    (
        EventFile(
            of_one_merchant(
                "criteo",
                "click",
                ts=moment("timestamp", form="relative"),
                user_id=identity("uid"),
                item_id=identity("campaign"),
                category=text("cat1"),
            ),
            ("criteo_attribution_dataset.tsv",),
            signature=("timestamp", "uid", "campaign", "conversion", "conversion_id", "click"),
            leave_out=(LeaveOut("impressions without a click", is_one_of("click", "0")),),
            further=Further(
                _SALE_OF_CLICK,
                {
                    "kind": constant("sale"),
                    "ts": moment("conversion_timestamp", form="relative"),
                    "order_id": identity("conversion_id"),
                    "order_value": constant(SALE_VALUE),
                },
            ),
        ),
    ),
    ("ts", "user_id", "kind", "item_id", "order_id"),
)
_UPLIFT = Format(
    "criteo-uplift",
    "Criteo's uplift data have neither users nor items, so they are no events: `tandem data clicks FILE --label visit "
    "--numbers f0,f1,...` reads them as a click log.",
    (EventFile({}, ("criteo-uplift*", "criteo-research-uplift*"), signature=("f0", "f11", "treatment", "visit")),),
)

SHOPS = (_REES46, _RETAILROCKET, _YOOCHOOSE, _DIGINETICA, _HM, _ATTRIBUTION, _UPLIFT)
