"""What a workspace holds, in figures: `tandem data describe`."""

from dataclasses import dataclass
from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc

from data.engine import Engine, collect, connect, read_table
from data.relations import item_counts, user_timelines
from data.schema import EVENT_KINDS
from data.tables import load_catalog, load_events
from data.workspace import Origin, Workspace


@dataclass(frozen=True)
class MerchantCounts:
    """A merchant's items in the catalog, its events of each kind, and its users."""

    merchant_id: str
    items: int
    views: int
    clicks: int
    landings: int
    sales: int
    users: int

    @property
    def events(self) -> int:
        return self.views + self.clicks + self.landings + self.sales


@dataclass(frozen=True)
class ItemsPerUser:
    """Distinct items of a user's timeline, over all users."""

    median: int
    ninth_decile: int
    most: int


@dataclass(frozen=True)
class WorkspaceDescription:
    """Counts of everything. `by_merchant`: those with events, the largest first."""

    origin: Origin
    events: int
    events_by_kind: dict[str, int]
    users: int
    items_in_catalog: int
    items_with_events: int
    merchants: int
    countries: int
    first_event: datetime
    last_event: datetime
    items_per_user: ItemsPerUser
    by_merchant: tuple[MerchantCounts, ...]


def describe(workspace: Workspace, engine: Engine = "duckdb") -> WorkspaceDescription:
    """Raises DataError if the workspace holds no events."""
    events, catalog = load_events(workspace), load_catalog(workspace)
    table = read_table(connect(engine), events)
    lengths = collect(
        user_timelines(table, EVENT_KINDS, limit=10**9).group_by("user_id").agg(items=lambda t: t.count())
    )
    quantiles = pc.quantile(lengths["items"], [0.5, 0.9, 1.0], interpolation="lower").to_pylist()
    return WorkspaceDescription(
        origin=workspace.origin(),
        events=len(events),
        events_by_kind={kind: pc.sum(pc.equal(events["kind"], kind)).as_py() for kind in EVENT_KINDS},
        users=len(lengths),
        items_in_catalog=len(catalog),
        items_with_events=pc.count_distinct(events["item_id"]).as_py(),
        merchants=pc.count_distinct(catalog["merchant_id"]).as_py(),
        countries=pc.count_distinct(events["country"]).as_py(),
        first_event=pc.min(events["ts"]).as_py(),
        last_event=pc.max(events["ts"]).as_py(),
        items_per_user=ItemsPerUser(*quantiles),
        by_merchant=_by_merchant(collect(item_counts(table, by=("merchant_id",))), catalog),
    )


def _by_merchant(counts: pa.Table, catalog: pa.Table) -> tuple[MerchantCounts, ...]:
    items = catalog.group_by("merchant_id").aggregate([([], "count_all")])
    owned = dict(zip(items["merchant_id"].to_pylist(), items["count_all"].to_pylist(), strict=True))
    rows = [MerchantCounts(items=owned.get(row["merchant_id"], 0), **row) for row in counts.to_pylist()]
    return tuple(sorted(rows, key=lambda row: (-row.events, row.merchant_id)))
