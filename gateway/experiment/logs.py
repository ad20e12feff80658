"""The gateway's log, as tables of DuckDB that are read batch by batch.

What every figure rests on is decided here, once: which display earned each click and sale. That is decided over all
displays of the log, whatever experiment and window are asked for.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import cached_property
from typing import Any

import duckdb
import ibis
import pyarrow as pa
from ibis.expr.types import BooleanColumn, Table

from data import relations
from data.attribution import DEFAULT, SLOT, Attribution, attributed_sales, banner_clicks
from data.engine import collect, connect, read_table
from data.eventlog import EventLogError, LoggedRows

MEMORY_LIMIT = "2GB"
"""Of DuckDB; beyond it aggregates go to disk."""

_FIRST = ("ts", "user_id", "population", "merchant_id")
"""Of displays with one id the first by these counts."""


BANNERS = ""
"""The surface of a banner; other answers that are logged name theirs ("candidates", "similar")."""


class Log:
    """All displays and tracked events of a gateway. Tables of `displays` are good for one expression each."""

    def __init__(self, displays: LoggedRows | pa.Table, tracked: LoggedRows | pa.Table) -> None:
        self.connection: Any = connect("duckdb", threads=2)
        self.connection.raw_sql(f"SET memory_limit = '{MEMORY_LIMIT}'; SET preserve_insertion_order = false")
        self._displays = displays if isinstance(displays, LoggedRows) else LoggedRows(displays)
        self._tracked = tracked if isinstance(tracked, LoggedRows) else LoggedRows(tracked)

    def collect(self, table: Table) -> pa.Table:
        """Raises EventLogError if a segment that it reads is damaged."""
        with _told_plainly():
            return collect(table)

    def kept(self, table: Table | pa.Table) -> Table:
        """The table computed once, for the many expressions that read it."""
        return read_table(self.connection, table if isinstance(table, pa.Table) else self.collect(table))

    def displays(self, *columns: str) -> Table:
        """One row per display_id, with these columns ("slots.item_id": that field alone)."""
        if not len(self._repeated):
            return self._read(*columns)
        needed = dict.fromkeys([*columns, "display_id", *_FIRST])
        names = list(dict.fromkeys(column.partition(".")[0] for column in columns))
        repeated = self.kept(self._repeated)
        once = self._read(*needed).anti_join(repeated, "display_id").select(*names)
        again = self._read(*needed).semi_join(repeated, "display_id")
        return ibis.union(once, relations.first_of_each(again, "display_id", _FIRST).select(*names), distinct=False)

    @cached_property
    def events(self) -> Table:
        """The clicks, landings and sales, one per event_id."""
        events = read_table(self.connection, self._tracked.reader(*self._tracked.rows.schema.names))
        return self.kept(relations.distinct_events(events.filter(events["kind"] != "view")))

    @cached_property
    def newest_event(self) -> datetime | None:
        """The moment of the last tracked event, views included."""
        events = read_table(self.connection, self._tracked.reader("ts"))
        found: datetime | None = self.collect(events.agg(last=events["ts"].max()))["last"][0].as_py()
        return found

    @cached_property
    def end(self) -> datetime:
        """The moment of its newest row."""
        moments = [row["last"] for row in self.experiments] + [self.newest_event]
        return max(moment for moment in moments if moment is not None)

    @cached_property
    def experiments(self) -> list[dict[str, Any]]:
        """experiment, displays (banners), first, last of each, the one with most first; those without banners last."""
        displays = self.displays("experiment", "ts", "surface")
        counted = displays.group_by("experiment").agg(
            displays=shown_at(displays, BANNERS).sum(), first=displays["ts"].min(), last=displays["ts"].max()
        )
        rows: list[dict[str, Any]] = self.collect(counted).to_pylist()
        return sorted(rows, key=lambda row: (-row["displays"], row["experiment"]))

    @cached_property
    def clicked_slots(self) -> Table:
        """The slots of every display that an event names: SLOT, and what is known of their display."""
        named = self.events.filter(self.events["display_id"].notnull()).select("display_id").distinct()
        about = (
            "display_id",
            "user_id",
            "merchant_id",
            "experiment",
            "population",
            "ts",
            "country",
            "device",
            "surface",
        )
        shown = self.displays(*about, "slots.item_id", "slots.sources").semi_join(named, "display_id")
        slots = shown.select(*about, slot=shown["slots"].unnest())
        told = slots.select(*about, item_id=slots["slot"]["item_id"], sources=slots["slot"]["sources"].join("\0"))
        return self.kept(told.distinct().rename(shown_ts="ts"))

    @cached_property
    def stray_clicks(self) -> int:
        """Clicks and landings that name no display which showed that item of that merchant to that user."""
        clicks = self.events.filter(self.events["kind"] != "sale", self.events["display_id"].notnull())
        return int(clicks.anti_join(self.clicked_slots, SLOT).count().execute())

    @cached_property
    def clicks(self) -> Table:
        """Every click on a shown slot, of all experiments, with its display's experiment, population and `shown_ts`."""
        return self.kept(banner_clicks(self.events, self.clicked_slots))

    def sales(self, attribution: Attribution = DEFAULT) -> Table:
        """Every sale that a click earned, of all experiments, with that click's display's columns."""
        sales = attributed_sales(self.events, self.clicks, attribution)
        columns = ("experiment", "population", "shown_ts", "device", "surface", "sources")
        about = self.clicks.select(*columns, click_event_id="event_id")
        return self.kept(sales.join(about, "click_event_id"))

    def _read(self, *columns: str) -> Table:
        return read_table(self.connection, self._displays.reader(*columns))

    @cached_property
    def _repeated(self) -> pa.Table:
        """display_id of those that occur more than once. Hashes first: they are short, and repeats are rare."""
        hashes = self._read("display_id").select(h=lambda table: table["display_id"].hash())
        twice = self.collect(hashes.group_by("h").agg(n=hashes.count()).filter(lambda table: table["n"] > 1))
        if not len(twice):
            return pa.table({"display_id": pa.array([], pa.string())})
        ids = self._read("display_id").mutate(h=lambda table: table["display_id"].hash())
        ids = ids.semi_join(read_table(self.connection, twice), "h").group_by("display_id").agg(n=lambda t: t.count())
        return self.collect(ids.filter(ids["n"] > 1).select("display_id"))


def shown_at(table: Table, surface: str) -> BooleanColumn:
    """Whether a display was on that surface; old logs have banners alone."""
    found: BooleanColumn = table["surface"].fill_null(BANNERS) == surface
    return found


@contextmanager
def _told_plainly() -> Iterator[None]:
    """DuckDB wraps what a reader raises; the sentence about the file is what a person needs."""
    try:
        yield
    except duckdb.Error as error:
        said = str(error)
        start, marker = said.find("Unknown error: "), ": expected "
        if start < 0 or marker not in said:
            raise
        raise EventLogError(said[start + len("Unknown error: ") :].split(" Detail:")[0]) from error
