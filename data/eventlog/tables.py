"""Records become rows: lists of log messages as tables of DISPLAY_SCHEMA and EVENT_SCHEMA."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate, chain, islice

import numpy as np
import pyarrow as pa
from google.protobuf.message import DecodeError

from data.schema import DISPLAY_SCHEMA, EVENT_KINDS, EVENT_SCHEMA, SLOT_TYPE, TIMESTAMP
from proto.tandem.v1.log_pb2 import DisplayRecord, LoggedSlot, LogRecord
from proto.tandem.v1.tandem_pb2 import TrackedEvent

_DISPLAY_STRINGS = [field.name for field in DISPLAY_SCHEMA if field.type == pa.string()]
_DISPLAY_LISTS = [field.name for field in DISPLAY_SCHEMA if field.type == pa.list_(pa.string())]


@dataclass(frozen=True)
class Rows:
    """What serialised `LogRecord`s hold.

    displays: DISPLAY_SCHEMA. tracked: EVENT_SCHEMA. unknown: records of kinds that this version does not know, as a
    later one may have written them.
    """

    displays: pa.Table
    tracked: pa.Table
    unknown: list[bytes]


_AT_ONCE = 10_000
"""So many records are messages at once: a message is ten times as large as the row that it becomes."""


def tables_of(payloads: Iterable[bytes]) -> Rows:
    """The displays and the tracked events among serialised `LogRecord`s, and what is neither."""
    left, parts = iter(payloads), [_rows_of(())]
    while some := list(islice(left, _AT_ONCE)):
        parts.append(_rows_of(some))
    return Rows(
        pa.concat_tables([part.displays for part in parts]),
        pa.concat_tables([part.tracked for part in parts]),
        [one for part in parts for one in part.unknown],
    )


def _rows_of(payloads: Iterable[bytes]) -> Rows:
    displays: list[DisplayRecord] = []
    tracked: list[TrackedEvent] = []
    unknown: list[bytes] = []
    for payload in payloads:
        try:
            record = LogRecord.FromString(payload)
        except DecodeError:
            record = LogRecord()
        if record.HasField("display"):
            displays.append(record.display)
        elif record.HasField("tracked") and 0 <= record.tracked.kind <= len(EVENT_KINDS):  # the last: VIEW
            tracked.append(record.tracked)
        else:
            unknown.append(payload)
    return Rows(displays_table(displays), tracked_table(tracked), unknown)


def displays_table(records: Sequence[DisplayRecord]) -> pa.Table:
    """One row of DISPLAY_SCHEMA per record."""
    columns = {name: pa.array([getattr(record, name) for record in records], pa.string()) for name in _DISPLAY_STRINGS}
    columns |= {name: _string_lists([getattr(record, name) for record in records]) for name in _DISPLAY_LISTS}
    columns["ts"] = pa.array([record.ts_us for record in records], pa.int64()).cast(TIMESTAMP)
    columns["stage_us"] = pa.MapArray.from_arrays(
        _offsets(len(record.stage_times) for record in records),
        pa.array([time.stage for record in records for time in record.stage_times], pa.string()),
        pa.array([time.us for record in records for time in record.stage_times], pa.int64()),
    )
    slots = [slot for record in records for slot in record.slots]
    columns["slots"] = pa.ListArray.from_arrays(
        _offsets(len(record.slots) for record in records), _slots(slots), type=DISPLAY_SCHEMA.field("slots").type
    )
    return pa.table([columns[name] for name in DISPLAY_SCHEMA.names], schema=DISPLAY_SCHEMA)


def tracked_table(events: Sequence[TrackedEvent]) -> pa.Table:
    """One row of EVENT_SCHEMA per event. Empty ids become null where the schema lets them."""
    strings = ("event_id", "user_id", "item_id", "merchant_id", "country")
    columns = {name: pa.array([getattr(event, name) for event in events], pa.string()) for name in strings}
    for name in ("display_id", "order_id"):
        columns[name] = pa.array([getattr(event, name) or None for event in events], pa.string())
    columns["ts"] = pa.array([event.ts_us for event in events], pa.int64()).cast(TIMESTAMP)
    columns["kind"] = pa.array([EVENT_KINDS[event.kind % len(EVENT_KINDS)] for event in events], pa.string())
    sale = EVENT_KINDS.index("sale")
    values = [event.order_value if event.kind == sale else None for event in events]
    columns["order_value"] = pa.array(values, pa.float64())
    return pa.table([columns[name] for name in EVENT_SCHEMA.names], schema=EVENT_SCHEMA)


def _slots(slots: list[LoggedSlot]) -> pa.StructArray:
    dense = pa.array(np.fromiter(chain.from_iterable(slot.dense for slot in slots), np.float32), pa.float32())
    arrays = {
        "position": pa.array([slot.position for slot in slots], pa.int32()),
        "item_id": pa.array([slot.item_id for slot in slots], pa.string()),
        "category": pa.array([slot.category for slot in slots], pa.string()),
        "sources": _string_lists([slot.sources for slot in slots]),
        "score": pa.array([slot.score for slot in slots], pa.float32()),
        "dense": pa.ListArray.from_arrays(_offsets(len(slot.dense) for slot in slots), dense),
        "shadow_score": pa.array(
            [slot.shadow_score if slot.HasField("shadow_score") else None for slot in slots], pa.float32()
        ),
        "propensity": pa.array([slot.propensity or None for slot in slots], pa.float32()),
    }
    fields = [SLOT_TYPE.field(k) for k in range(SLOT_TYPE.num_fields)]
    return pa.StructArray.from_arrays([arrays[one.name] for one in fields], fields=fields)


def _string_lists(lists: Sequence[Sequence[str]]) -> pa.ListArray:
    flat = pa.array(list(chain.from_iterable(lists)), pa.string())
    return pa.ListArray.from_arrays(_offsets(len(one) for one in lists), flat)


def _offsets(lengths: Iterable[int]) -> pa.Array:
    return pa.array(list(accumulate(lengths, initial=0)), pa.int32())
