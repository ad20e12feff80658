"""Requests from outside: every field checked against its limit, then turned into a bundle's positions."""

import math
import re
import time
from collections.abc import Collection, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from data.errors import DataError
from data.filters import ItemFilters, item_filter
from data.ids import UNKNOWN
from data.items import ItemTable
from data.request import HISTORY_LIMIT, NO_HISTORY, History, ItemFilter, Request
from data.schema import EVENT_KINDS, EventKind
from gateway.errors import RefusalError
from gateway.rpc.refusals import invalid
from gateway.wire import COUNTRY_LENGTH, EXCLUDE_LENGTH, HISTORY_LENGTH, ID_LENGTH, RANKED_ITEMS, TRACKED_EVENTS, Reason
from proto.tandem.v1 import tandem_pb2 as pb

ORDER_VALUE = 1e9
EARLIEST_US = 946_684_800_000_000  # 2000-01-01
LATEST_US = 4_102_444_800_000_000  # 2100-01-01

NO_ITEMS = np.empty(0, np.int32)

_KINDS = len(EVENT_KINDS)
"""On the wire a kind is its `EventKind` code; a view is this, or 0 where a kind may be left out."""
_EXPECTED_KIND = ", ".join(f"{code} ({pb.EventKind.Name(code)})" for code in range(1, _KINDS + 1))


def now_us() -> int:
    return time.time_ns() // 1000


def request_of(
    context: pb.Context,
    items: ItemTable,
    replay: bool,
    user_required: bool = True,
    exclude_kinds: Collection[int] = (),
    filters: ItemFilters | None = None,
) -> Request:
    """The request in positions. Items the bundle does not know are left out of history and exclusions.

    Args:
        exclude_kinds: `EventKind` codes; what the history holds so is excluded, as by the request's own.
        filters: of these items; None: made if the request asks for some.

    Raises:
        RefusalError: a field beyond its limit (INVALID_ARGUMENT), a merchant the bundle does not know (NOT_FOUND).
    """
    _check_id("context.user_id", context.user_id, required=user_required)
    _check_id("context.merchant_id", context.merchant_id)
    _check_length("context.country", context.country, COUNTRY_LENGTH)
    _check_length("context.publisher", context.publisher, ID_LENGTH)
    _check_length("context.device", context.device, ID_LENGTH)
    ts = _time_of(context.ts_us, replay)
    merchant = items.merchants.position(context.merchant_id)
    if merchant == UNKNOWN:
        sentence = f"context.merchant_id {context.merchant_id!r} is not in the bundle's catalog"
        raise RefusalError("NOT_FOUND", sentence, Reason.UNKNOWN_MERCHANT)
    history = _history_of(context.history, items, ts)
    exclude = excluded_positions("context.exclude_item_ids", context.exclude_item_ids, items)
    if context.exclude_kinds or exclude_kinds:
        exclude = np.union1d(exclude, _taken_as(context, exclude_kinds, items))
    allowed = None
    if context.HasField("filter"):
        allowed = (filters or ItemFilters(items)).allowed(merchant, filter_of("context.filter", context.filter))
    about = (context.publisher, context.device, exclude, allowed)
    return Request(context.user_id, merchant, context.country, ts, history, *about)


def filter_of(field: str, asked: pb.Filter) -> ItemFilter:
    """Conditions on items. Raises RefusalError: see `data.filters.item_filter`."""
    low, high = (getattr(asked, name) if asked.HasField(name) else None for name in ("min_price", "max_price"))
    try:
        return item_filter(asked.categories, low, high, f"{field}.")
    except DataError as error:
        raise invalid(str(error)) from None


def similar_to_position(item_id: str, country: str, items: ItemTable) -> int:
    """The position of the item whose like are asked for.

    Raises:
        RefusalError: a field beyond its limit (INVALID_ARGUMENT), an item that the bundle does not know (NOT_FOUND).
    """
    _check_id("item_id", item_id)
    _check_length("country", country, COUNTRY_LENGTH)
    position = items.items.position(item_id)
    if position == UNKNOWN:
        sentence = f"item_id {item_id!r} is not in the bundle's catalog"
        raise RefusalError("NOT_FOUND", sentence, Reason.UNKNOWN_ITEM)
    return position


def excluded_positions(field: str, item_ids: Sequence[str], items: ItemTable) -> NDArray[np.int32]:
    """int32 [E]: the distinct positions of items that must not be proposed; unknown ones are left out."""
    if not item_ids:
        return NO_ITEMS
    _check_ids(field, item_ids, EXCLUDE_LENGTH)
    positions = items.items.positions(item_ids)
    return np.unique(positions[positions != UNKNOWN])


def check_count(field: str, count: int, limit: int, least: int = 1) -> int:
    """The count itself, if it is within its limits."""
    if not least <= count <= limit:
        raise invalid(f"{field} is {count}; expected {least} to {limit}")
    return count


def ranked_positions(item_ids: Sequence[str], merchant: int, items: ItemTable) -> NDArray[np.int32]:
    """int32 [n]: positions of the items to rank; UNKNOWN where the bundle or the merchant has none such."""
    _check_ids("item_ids", item_ids, RANKED_ITEMS)
    positions = items.items.positions(item_ids) if item_ids else np.empty(0, np.int32)
    own = items.slice_of(merchant)
    positions[(positions < own.start) | (positions >= own.stop)] = UNKNOWN
    return positions


def checked_events(events: Sequence[pb.TrackedEvent], replay: bool) -> Sequence[pb.TrackedEvent]:
    """The events, every field within its limits; a time of 0 becomes now, and so does a later one.

    Args:
        replay: leave later times as they are.

    Raises:
        RefusalError: names the first event and field at fault. Then none of the events is taken.
    """
    check_count("events: their number", len(events), TRACKED_EVENTS, least=0)
    now = now_us()
    for place, event in enumerate(events):
        _check_event(f"events[{place}]", event)
        if event.ts_us == 0 or (event.ts_us > now and not replay):
            event.ts_us = now
    return events


def _check_event(where: str, event: pb.TrackedEvent) -> None:
    for field in ("event_id", "user_id", "item_id", "merchant_id"):
        _check_id(f"{where}.{field}", getattr(event, field))
    _check_length(f"{where}.country", event.country, COUNTRY_LENGTH)
    if not 1 <= event.kind <= _KINDS:
        found = "missing" if event.kind == pb.EVENT_KIND_UNSPECIFIED else str(event.kind)
        raise invalid(f"{where}.kind is {found}; expected {_EXPECTED_KIND}")
    shown = event.kind in (EventKind.click, EventKind.landing)
    _check_id(f"{where}.display_id", event.display_id, required=shown)
    _check_id(f"{where}.order_id", event.order_id, required=event.kind == EventKind.sale)
    if not (math.isfinite(event.order_value) and 0 <= event.order_value <= ORDER_VALUE):
        raise invalid(
            f"{where}.order_value is {event.order_value}; expected a finite number from 0 to {ORDER_VALUE:.0f}"
        )
    if event.ts_us and not EARLIEST_US <= event.ts_us <= LATEST_US:
        raise invalid(f"{where}.ts_us is {event.ts_us}; expected microseconds since 1970, from 2000 to 2100")


def _taken_as(context: pb.Context, always: Collection[int], items: ItemTable) -> NDArray[np.int32]:
    """The items that the whole history, beyond its newest part too, holds with one of the excluded kinds."""
    if len(context.exclude_kinds) > _KINDS:
        raise invalid(f"context.exclude_kinds has {len(context.exclude_kinds)} entries; expected at most {_KINDS}")
    _check_kinds("context.exclude_kinds", context.exclude_kinds)
    wanted = {*always, *(kind % _KINDS for kind in context.exclude_kinds)}
    item_ids = context.history.item_ids
    kinds = [kind % _KINDS for kind in context.history.kinds]
    kinds += [int(EventKind.view)] * (len(item_ids) - len(kinds))
    positions = items.items.positions([one for one, kind in zip(item_ids, kinds, strict=True) if kind in wanted])
    return positions[positions != UNKNOWN]


def _history_of(history: pb.History, items: ItemTable, ts: int) -> History:
    """The newest known events, oldest first. Events after the request's own time count as of that time."""
    count = len(history.item_ids)
    if count == 0 and not history.kinds and not history.ts_us:
        return NO_HISTORY
    item_ids = list(history.item_ids)
    _check_ids("context.history.item_ids", item_ids, HISTORY_LENGTH)
    for field in ("kinds", "ts_us"):
        if len(getattr(history, field)) > count:
            raise invalid(f"context.history.{field} has more entries than item_ids; expected at most {count}")
    kinds, times = list(history.kinds), list(history.ts_us)
    if kinds:
        _check_kinds("context.history.kinds", kinds)
        if pb.VIEW in kinds:
            kinds = [kind % _KINDS for kind in kinds]
    if times:
        times = _checked_times(times, ts)
    kinds += [int(EventKind.view)] * (count - len(kinds))
    times += [ts] * (count - len(times))
    positions = items.items.positions(item_ids)
    found = History(positions, np.array(kinds, np.int8), np.array(times, np.int64))
    in_order = times == sorted(times)
    if count <= HISTORY_LIMIT and in_order and UNKNOWN not in positions.tolist():
        return found
    kept = np.flatnonzero(positions != UNKNOWN)
    if not in_order:
        kept = kept[np.argsort(found.ts[kept], kind="stable")]
    kept = kept[-HISTORY_LIMIT:]
    return History(positions[kept], found.kinds[kept], found.ts[kept])


def _check_kinds(field: str, kinds: Sequence[int]) -> None:
    """Kinds of the wire; 0 is a view there, as it was once."""
    if kinds and not 0 <= min(kinds) <= max(kinds) <= _KINDS:
        for place, kind in enumerate(kinds):
            if not 0 <= kind <= _KINDS:
                raise invalid(f"{field}[{place}] is {kind}; expected {_EXPECTED_KIND}")


def _checked_times(times: list[int], ts: int) -> list[int]:
    """The times, 0 and later ones as `ts`."""
    if not EARLIEST_US <= min(times) <= max(times) <= LATEST_US:
        for place, one in enumerate(times):
            if one and not EARLIEST_US <= one <= LATEST_US:
                raise invalid(
                    f"context.history.ts_us[{place}] is {one}; expected microseconds since 1970, from 2000 to 2100"
                )
        times = [one or ts for one in times]
    return times if max(times) <= ts else [min(one, ts) for one in times]


def _time_of(ts: int, replay: bool) -> int:
    if ts == 0:
        return now_us()
    if not replay:
        raise invalid(f"context.ts_us is {ts}; expected 0 (now): this gateway was started without --replay")
    if not EARLIEST_US <= ts <= LATEST_US:
        raise invalid(f"context.ts_us is {ts}; expected microseconds since 1970, from 2000 to 2100")
    return ts


def _check_id(where: str, value: str, required: bool = True) -> None:
    if required and not value:
        raise invalid(f"{where} is empty; expected 1 to {ID_LENGTH} characters")
    _check_length(where, value, ID_LENGTH)


def _check_ids(where: str, values: Sequence[str] | Iterable[str], limit: int) -> None:
    values = list(values)
    if len(values) > limit:
        raise invalid(f"{where} has {len(values)} entries; expected at most {limit}")
    if values and max(map(len, values)) > ID_LENGTH:
        place = next(place for place, value in enumerate(values) if len(value) > ID_LENGTH)
        _check_length(f"{where}[{place}]", values[place], ID_LENGTH)


def _check_length(where: str, value: str, limit: int) -> None:
    if len(value) > limit:
        raise invalid(f"{where} has {len(value)} characters; expected at most {limit}")
    if not value.isprintable() and _CONTROL.search(value):
        raise invalid(f"{where} holds a control character; expected text on one line")


_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
"""As imports refuse them (data/readers/columns.py)."""
