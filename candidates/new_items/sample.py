"""Events of a workspace that tell of new items, and enough of all others, in bounded memory."""

from collections.abc import Sequence

import ibis
import pyarrow as pa

from data.engine import collect, connect, read_table
from data.schema import EVENT_SCHEMA
from data.tables import load_events
from data.workspace import Workspace

AT_MOST = 2_000_000
"""Events that are read whole; of more, those of a share of the users."""

_SHARES = 1 << 16


def events_about(workspace: Workspace, items: Sequence[str], at_most: int = AT_MOST) -> pa.Table:
    """All events (EVENT_SCHEMA) if they are at most so many; else those of users drawn at random, about `at_most` in
    all, and those of the users who took one of the items."""
    events = workspace.origin().events
    if events <= at_most:
        return load_events(workspace)
    stored = read_table(connect(), workspace.events)
    drawn = stored.user_id.hash().abs() % _SHARES < int(_SHARES * at_most / events)
    if len(items):
        takers = stored.filter(stored.item_id.isin(ibis.memtable({"item_id": list(items)}).item_id)).select("user_id")
        drawn = drawn | stored.user_id.isin(takers.distinct().user_id)
    return collect(stored.filter(drawn)).select(EVENT_SCHEMA.names).cast(EVENT_SCHEMA)
