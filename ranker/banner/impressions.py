"""Impressions of one's own as a display log that the ranker learns from, with the features of their moments."""

import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data.console import progress_bar
from data.errors import DataError
from data.eventlog import LogWriter, compact
from data.examples import EXAMPLE_SCHEMA
from data.files import temporary_beside
from data.impressions import Impressions, displays_of, put_together
from data.items import ItemTable
from data.readers.bad_rows import BadRows
from data.readers.sniffing import Reading
from data.schema import EventKind
from data.tables import load_catalog, load_events
from data.timelines import Timelines
from data.workspace import Workspace, writing
from proto.tandem.v1.log_pb2 import DisplayRecord, LoggedSlot, LogRecord
from proto.tandem.v1.tandem_pb2 import TrackedEvent
from ranker.banner.rows import rows_of_examples
from ranker.features.examples import Rows
from ranker.features.specification import Specification, banner_specification

EXPERIMENT = "impressions"
"""What the displays' experiment is called: they are no gateway's."""

_SECOND = 1_000_000


@dataclass(frozen=True)
class Imported:
    """What became of a file: its rows, and displays and tracked events that were written into the log."""

    impressions: Impressions
    displays: int
    clicks: int
    sales: int


def import_impressions(
    workspace: Workspace, file: Path, columns: Mapping[str, str], reading: Reading = Reading(), skip_bad: int = 0
) -> Imported:
    """Write a file's displays, clicks and sales into the workspace's log.

    A slot's features are those that the gateway would have computed at that moment: histories and counts of the
    workspace's events before it. A click landed; a sale is of its slot's item, a second later.

    Raises:
        DataError: no catalog and events yet; what is wrong with the file. Then nothing is written.
    """
    bad = BadRows(skip_bad, temporary_beside(workspace.root / "bad_impressions.tsv"))
    with writing(workspace), tempfile.TemporaryDirectory(prefix="tandem-") as folder:
        timelines, items = _known(workspace)
        try:
            found, together = put_together(file, columns, reading, bad, workspace.catalog, workspace.log, Path(folder))
        except DataError:
            bad.keep.unlink(missing_ok=True)
            raise
        if bad.count:
            bad.keep.replace(workspace.root / "bad_impressions.tsv")
        counts = np.zeros(3, np.int64)
        writer = LogWriter(workspace.log)
        try:
            with progress_bar("impressions", found.slots) as bar:
                for slots in displays_of(together):
                    counts += _written(writer, banner_specification(), items, timelines, slots)
                    bar.advance(len(slots))
        finally:
            writer.close()
        compact(workspace.log)
    return Imported(found, *counts.tolist())


def _known(workspace: Workspace) -> tuple[Timelines, ItemTable]:
    workspace.origin()
    items = ItemTable.of(load_catalog(workspace))
    return Timelines.of(load_events(workspace), items), items


def _written(
    writer: LogWriter, specification: Specification, items: ItemTable, timelines: Timelines, slots: pa.Table
) -> tuple[int, int, int]:
    """(displays, clicks, sales) of one piece, in the log: events first, which count once however often they come.

    So after a kill the same import brings in what is missing; displays that the log holds have their events.
    """
    rows, _ = rows_of_examples(specification, items, timelines, _examples(slots))
    names = slots["display_id"].combine_chunks().unique().to_pylist()
    records = [LogRecord(display=one).SerializeToString() for one in _displays(specification, rows, names)]
    clicked = slots.filter(slots["clicked"])
    sold = slots.filter(pc.is_valid(slots["order_value"]))
    events = [*_events(clicked, EventKind.click, 1), *_events(clicked, EventKind.landing, 2)]
    writer.append_tracked(sorted([*events, *_events(sold, EventKind.sale, 3)], key=lambda event: event.ts_us))
    writer.append_records(records)
    return len(records), len(clicked), len(sold)


def _examples(slots: pa.Table) -> pa.Table:
    columns = {name: slots[name] for name in slots.column_names if name in EXAMPLE_SCHEMA.names}
    columns |= {"request_id": slots["display_id"], "label": slots["clicked"].cast(pa.int8())}
    return pa.table([columns[name] for name in EXAMPLE_SCHEMA.names], schema=EXAMPLE_SCHEMA)


def _displays(specification: Specification, rows: Rows, names: list[str]) -> Iterator[DisplayRecord]:
    """`names`: of the displays, in the order of the rows' requests."""
    about = {name: rows.request_columns[name].to_pylist() for name in ("user", "merchant", "country", "publisher")}
    device = rows.request_columns["device"].to_pylist()
    item, category = (rows.item_columns[name].to_pylist() for name in ("item", "category"))
    recent = {name: lists.to_pylist() for name, lists in rows.bags.items()}
    bounds = np.flatnonzero(np.diff(rows.request, prepend=-1, append=len(rows.ts)))
    for request, (start, end) in enumerate(zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True)):
        yield DisplayRecord(
            display_id=names[request],
            ts_us=int(rows.ts[request]),
            user_id=about["user"][request],
            merchant_id=about["merchant"][request],
            country=about["country"][request],
            publisher=about["publisher"][request],
            device=device[request],
            experiment=EXPERIMENT,
            population=EXPERIMENT,
            dense_names=specification.dense_names,
            recent_items=recent["recent_items"][request],
            recent_categories=recent["recent_categories"][request],
            slots=[
                LoggedSlot(
                    position=int(rows.position[row]),
                    item_id=item[row],
                    category=category[row],
                    dense=rows.dense[row].tolist(),
                )
                for row in range(start, end)
            ],
        )


def _events(slots: pa.Table, kind: EventKind, seconds: int) -> list[TrackedEvent]:
    return [
        TrackedEvent(
            event_id=f"{row['display_id']}-{row['item_id']}-{kind.name}",
            ts_us=int(ts) + seconds * _SECOND,
            user_id=row["user_id"],
            kind=kind.name.upper(),
            item_id=row["item_id"],
            merchant_id=row["merchant_id"],
            country=row["country"],
            display_id="" if kind == EventKind.sale else row["display_id"],
            order_id=f"{row['display_id']}-{row['item_id']}" if kind == EventKind.sale else "",
            order_value=row["order_value"] if kind == EventKind.sale else 0.0,
        )
        for row, ts in zip(slots.to_pylist(), slots["ts"].cast(pa.int64()).to_pylist(), strict=True)
    ]
