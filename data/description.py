"""What a workspace holds, in figures: `tandem data describe`."""

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from data.engine import Engine, collect, connect, read_table
from data.relations import item_counts, user_timelines
from data.schema import EVENT_KINDS
from data.tables import load_catalog, load_events
from data.workspace import Workspace


def describe(workspace: Workspace, engine: Engine = "duckdb") -> dict[str, Any]:
    """Counts of everything, the span of time, the lengths of timelines, and a row per merchant, the largest first.

    Raises:
        DataError: the workspace holds no events.
    """
    origin = workspace.origin()
    events, catalog = load_events(workspace), load_catalog(workspace)
    table = read_table(connect(engine), events)
    lengths = collect(
        user_timelines(table, EVENT_KINDS, limit=10**9).group_by("user_id").agg(items=lambda t: t.count())
    )
    quantiles = pc.quantile(lengths["items"], [0.5, 0.9, 1.0], interpolation="lower").to_pylist()
    return {
        "origin": vars(origin),
        "events": len(events),
        "events by kind": {kind: pc.sum(pc.equal(events["kind"], kind)).as_py() for kind in EVENT_KINDS},
        "users": len(lengths),
        "items in the catalog": len(catalog),
        "items with events": pc.count_distinct(events["item_id"]).as_py(),
        "merchants": pc.count_distinct(catalog["merchant_id"]).as_py(),
        "countries": pc.count_distinct(events["country"]).as_py(),
        "first event": pc.min(events["ts"]).as_py().isoformat(),
        "last event": pc.max(events["ts"]).as_py().isoformat(),
        "items per user": dict(zip(("median", "90 %", "most"), quantiles, strict=True)),
        "by merchant": _by_merchant(collect(item_counts(table, by=("merchant_id",))), catalog),
    }


def _by_merchant(counts: pa.Table, catalog: pa.Table) -> list[dict[str, Any]]:
    """One row per merchant of the events: its items in the catalog and its events of each kind."""
    items = catalog.group_by("merchant_id").aggregate([([], "count_all")])
    owned = dict(zip(items["merchant_id"].to_pylist(), items["count_all"].to_pylist(), strict=True))
    rows = [{**row, "items": owned.get(row["merchant_id"], 0)} for row in counts.to_pylist()]
    return sorted(rows, key=lambda row: (-sum(row[name] for name in _COUNTS), row["merchant_id"]))


_COUNTS = ("views", "clicks", "landings", "sales")
