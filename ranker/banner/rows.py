"""Banner rows from their two origins: examples pooled at a past moment of the timelines, and the display log."""

import logging
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from data.attribution import DEFAULT, Attribution, attributed_sales, banner_clicks
from data.engine import collect, connect, read_table
from data.ids import UNKNOWN
from data.items import ItemTable
from data.relations import distinct_events
from data.schema import DAY_US
from data.timelines import Timelines
from ranker.banner.features import DENSE_VALUES, Catalogue, Visits, dense_values, item_values
from ranker.banner.statistics import PastStatistics, positions_of_column
from ranker.errors import RankerError
from ranker.features.examples import Rows
from ranker.features.specification import Specification
from ranker.training.objectives import CLICKS, Objectives

log = logging.getLogger(__name__)

CHUNK = 20_000
"""Rows whose features are computed at once; bounds the memory for their histories."""

_REQUEST_IDS = {
    "user": "user_id",
    "merchant": "merchant_id",
    "country": "country",
    "publisher": "publisher",
    "device": "device",
}


@dataclass(frozen=True)
class _Grouped:
    """Requests found in a table of rows: the order of rows that brings them together, and where each begins."""

    order: NDArray[np.int64]
    request: NDArray[np.int64]
    first: NDArray[np.int64]


def rows_of_examples(
    specification: Specification, items: ItemTable, timelines: Timelines, examples: pa.Table
) -> tuple[Rows, int]:
    """Rows of a table of EXAMPLE_SCHEMA, with histories and counts as they stood before each example's `ts`.

    Returns the rows and how many examples were left out because the catalog lacks their item or merchant.
    """
    position = positions_of_column(items, examples["item_id"].combine_chunks())
    merchant_codes = examples["merchant_id"].combine_chunks().dictionary_encode()
    merchant = items.merchants.positions(merchant_codes.dictionary.to_pylist())[merchant_codes.indices.to_numpy()]
    known = (position != UNKNOWN) & (merchant != UNKNOWN)
    examples = examples.filter(pa.array(known)).combine_chunks()
    position, merchant = position[known], merchant[known]
    if not len(examples):
        raise RankerError("none of the examples names an item of the catalog; expected examples of this workspace")
    groups = _group(examples["request_id"].combine_chunks())
    position, examples = position[groups.order], examples.take(pa.array(groups.order)).combine_chunks()
    heads = examples.take(pa.array(groups.first))
    ts = heads["ts"].cast(pa.int64()).to_numpy()
    visits = Visits.of_timelines(
        timelines, _users(timelines, heads["user_id"]), merchant[groups.order][groups.first], ts
    )
    rows = Rows(
        dense=_past_values(specification, items, timelines, visits, groups.request, position),
        request=groups.request,
        request_columns={name: heads[column].combine_chunks() for name, column in _REQUEST_IDS.items()},
        item_columns={
            "item": examples["item_id"].combine_chunks(),
            "category": _names(items.categories.ids(), items.category[position]),
        },
        bags=_recent(specification, items, visits),
        position=examples["position"].to_numpy().astype(np.int32),
        label=examples["label"].to_numpy().astype(np.float32),
        ts=ts,
        user=heads["user_id"].combine_chunks(),
    )
    return rows, int((~known).sum())


def _past_values(
    specification: Specification,
    items: ItemTable,
    timelines: Timelines,
    visits: Visits,
    request: NDArray[np.int64],
    position: NDArray[np.int32],
) -> NDArray[np.float32]:
    catalogue, past = Catalogue.of(items), PastStatistics(timelines, items)
    columns = dense_columns(specification)
    dense = np.empty((len(position), len(columns)), np.float32)
    for start in range(0, len(position), CHUNK):
        rows = slice(start, start + CHUNK)
        visit = visits.take(request[rows])
        of_items = item_values(catalogue, position[rows], past.at(position[rows], visit.ts))
        dense[rows] = dense_values(catalogue, visit, position[rows], of_items)[:, columns]
    return dense


def dense_columns(specification: Specification) -> NDArray[np.int64]:
    """Where the specification's dense features stand in DENSE_VALUES. Raises RankerError for an unknown one."""
    for name in specification.dense_names:
        if name not in DENSE_VALUES:
            raise RankerError(
                f"feature specification {specification.name}: dense feature {name!r} is unknown; "
                f"expected one of {', '.join(DENSE_VALUES)}"
            )
    return np.array([DENSE_VALUES.index(name) for name in specification.dense_names])


def rows_of_log(
    specification: Specification,
    displays: pa.Table,
    tracked: pa.Table,
    label: str = "click",
    attribution: Attribution = DEFAULT,
    objectives: Objectives = CLICKS,
) -> tuple[Rows, int]:
    """Rows of a table of DISPLAY_SCHEMA, in its order, labelled by the tracked events (EVENT_SCHEMA).

    Features are those with which the slots were scored; requests are the displays of which a slot carries features.
    Sales are told beside where the objectives count them.

    Args:
        label: "click": the slot was clicked and the click landed; "sale": a sale belongs to a click on the slot.
        attribution: to which click a sale belongs; by default as in the report.

    Returns the rows and how many slots were left out because no features were logged (the ranker had failed).

    Raises:
        RankerError: no slot carries the specification's dense features.
    """
    displays = displays.combine_chunks()
    request, dense, there = _logged_values(specification, displays)
    slots = displays["slots"].combine_chunks().flatten()
    fields = {name: slots.field(name) for name in ("position", "item_id", "category")}
    if not there.any():
        raise RankerError(
            f"no slot of the {len(displays)} logged displays carries the features "
            f"{', '.join(specification.dense_names)}; expected displays of a gateway that ranks with them"
        )
    places = pa.array(np.flatnonzero(there))
    every = Rows(
        dense=dense[there],
        request=request[there],
        request_columns={name: displays[column].combine_chunks() for name, column in _REQUEST_IDS.items()},
        item_columns={"item": fields["item_id"].take(places), "category": fields["category"].take(places)},
        bags={bag.name: displays[bag.name].combine_chunks() for bag in specification.bags},
        position=fields["position"].to_numpy()[there].astype(np.int32),
        label=slot_labels(displays, tracked, label, attribution)[there],
        ts=displays["ts"].cast(pa.int64()).to_numpy(),
        user=displays["user_id"].combine_chunks(),
        sale=_sales(displays, tracked, attribution, objectives)[there] if objectives.sale else None,
    )
    return every.take(np.unique(every.request)), int((~there).sum())


def _sales(
    displays: pa.Table, tracked: pa.Table, attribution: Attribution, objectives: Objectives
) -> NDArray[np.float32]:
    """float32 [slots]: whether each earned a sale; NaN where its display is too young for that to be known."""
    wait = attribution.window_days if objectives.sale_wait_days is None else objectives.sale_wait_days
    ts = displays["ts"].cast(pa.int64()).to_numpy()
    sale = slot_labels(displays, tracked, "sale", attribution)
    lengths = displays["slots"].combine_chunks().value_lengths().fill_null(0).to_numpy()
    sale[np.repeat(ts > ts.max() - round(wait * DAY_US), lengths)] = np.nan
    return sale


def displays_with_features(specification: Specification, displays: pa.Table) -> NDArray[np.bool_]:
    """bool [displays]: of which a slot carries the specification's dense features."""
    request, _, there = _logged_values(specification, displays.combine_chunks())
    return np.bincount(request, there, len(displays)) > 0


def _logged_values(
    specification: Specification, displays: pa.Table
) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.bool_]]:
    """The display of each slot, its values float32 [slots, D] in the specification's order, and whether it has them.

    A display names the order in which it logged its values.
    """
    slots = displays["slots"].combine_chunks()
    request = np.repeat(np.arange(len(displays)), slots.value_lengths().fill_null(0).to_numpy().astype(np.int64))
    dense = slots.flatten().field("dense")
    wanted = specification.dense_names
    widths = dense.value_lengths().fill_null(0).to_numpy().astype(np.int64)
    starts = np.cumsum(widths) - widths
    values = dense.flatten().to_numpy()
    filled, there = np.zeros((len(request), len(wanted)), np.float32), np.zeros(len(request), bool)
    encoded = pa.array([" ".join(one or ()) for one in displays["dense_names"].to_pylist()]).dictionary_encode()
    layout_of_slot = encoded.indices.to_numpy()[request]
    for code, joined in enumerate(encoded.dictionary.to_pylist()):
        layout = joined.split()
        if not set(wanted) <= set(layout):
            continue
        chosen = np.flatnonzero((layout_of_slot == code) & (widths == len(layout)))
        columns = np.array([layout.index(name) for name in wanted])
        filled[chosen] = values[starts[chosen][:, None] + columns]
        there[chosen] = True
    return request, filled, there & np.isfinite(filled).all(axis=1)


def slot_labels(
    displays: pa.Table, tracked: pa.Table, label: str = "click", attribution: Attribution = DEFAULT
) -> NDArray[np.float32]:
    """float32 [slots of all displays, in order]: 1 where the slot was clicked and the click landed, or earned a sale.

    A click on a later display takes a sale from an earlier one, also if that display is not among `displays`.
    """
    if label not in ("click", "sale"):
        raise RankerError(f"label {label!r} is unknown; expected click or sale")
    slots = displays["slots"].combine_chunks()
    lengths = slots.value_lengths().fill_null(0).to_numpy().astype(np.int64)
    display = np.repeat(np.arange(len(displays)), lengths)
    item = slots.flatten().field("item_id")
    shown = pa.table({"display_id": displays["display_id"].combine_chunks().take(pa.array(display)), "item_id": item})
    if label == "sale":
        return _found(shown, _earning_slots(tracked, attribution)).astype(np.float32)
    positive = np.ones(len(shown), bool)
    for kind in ("click", "landing"):
        events = tracked.filter(pc.equal(tracked["kind"], kind)).select(["display_id", "item_id"])
        positive &= _found(shown, events)
    return positive.astype(np.float32)


def _found(shown: pa.Table, events: pa.Table) -> NDArray[np.bool_]:
    """Which rows of `shown` occur among `events` (same columns)."""
    numbered = shown.append_column("row", pa.array(np.arange(len(shown))))
    matched = numbered.join(events, keys=list(events.column_names), join_type="left semi")["row"].to_numpy()
    found = np.zeros(len(shown), bool)
    found[matched] = True
    return found


def _earning_slots(tracked: pa.Table, attribution: Attribution) -> pa.Table:
    """display_id, item_id of every slot that earned a sale."""
    events = distinct_events(read_table(connect("duckdb", threads=1), tracked))
    sales = attributed_sales(events, banner_clicks(events), attribution)
    return collect(sales.select("display_id", item_id="clicked_item_id").filter(sales["display_id"].notnull()))


def _group(request_ids: pa.Array) -> _Grouped:
    """Bring rows of one request together, keeping requests and rows in the order of their first appearance."""
    codes = request_ids.dictionary_encode().indices.to_numpy()
    order = np.argsort(codes, kind="stable")
    first = np.flatnonzero(np.diff(codes[order], prepend=-1))
    return _Grouped(order, codes[order].astype(np.int64), first)


def _users(timelines: Timelines, user_ids: pa.ChunkedArray) -> NDArray[np.int64]:
    """int64 [R]: each user's place in the timelines, -1 if they have none."""
    found = pc.index_in(user_ids, value_set=pa.array(timelines.users, pa.string()))
    return pc.fill_null(found, -1).to_numpy().astype(np.int64)


def _names(names: list[str], codes: NDArray[np.int32]) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array(np.asarray(codes, np.int32)), pa.array(names, pa.string()))


def _recent(specification: Specification, items: ItemTable, visits: Visits) -> dict[str, pa.ListArray]:
    """The bags of the specification, from the visits' newest events."""
    return {
        bag.name: recent_list(visits, bag.length, items.items.ids(), None)
        if bag.name == "recent_items"
        else recent_list(visits, bag.length, items.categories.ids(), np.asarray(items.category))
        for bag in specification.bags
    }


def recent_list(visits: Visits, length: int, names: list[str], code_of: NDArray[np.int32] | None) -> pa.ListArray:
    """List of strings [R]: the newest `length` items of each visit, newest last; their `code_of`, if given."""
    newest = visits.items[-length:].T
    there = newest >= 0
    codes = newest[there] if code_of is None else code_of[newest[there]]
    offsets = np.concatenate([[0], np.cumsum(there.sum(axis=1))]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), _names(names, codes).cast(pa.string()))
