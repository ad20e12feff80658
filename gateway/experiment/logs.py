"""The gateway's log of one experiment, as tables of DuckDB that are read batch by batch.

What every figure rests on is decided here, once: which displays and users count, and which display earned each click
and sale. That is decided over all displays of the log, whatever experiment and window are asked for; the window then
chooses displays, each with all that it earned. So windows, days and users add up.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

import duckdb
import ibis
import pyarrow as pa
import pyarrow.compute as pc
from ibis.expr.types import BooleanColumn, Table

from data import relations
from data.attribution import DEFAULT, SLOT, Attribution, attributed_sales, banner_clicks
from data.engine import collect, connect, read_table
from data.eventlog import EventLogError, LoggedRows
from gateway.experiment.model import ReportError, printable

MEMORY_LIMIT = "2GB"
"""Of DuckDB; beyond it aggregates go to disk."""

_FIRST = ("ts", "user_id", "population", "merchant_id")
"""Of displays with one id the first by these counts."""


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
    def experiments(self) -> list[dict[str, Any]]:
        """experiment, displays, first, last of each, the one with most displays first."""
        displays = self.displays("experiment", "ts")
        counted = displays.group_by("experiment").agg(
            displays=displays.count(), first=displays["ts"].min(), last=displays["ts"].max()
        )
        rows: list[dict[str, Any]] = self.collect(counted).to_pylist()
        return sorted(rows, key=lambda row: (-row["displays"], row["experiment"]))

    @cached_property
    def clicked_slots(self) -> Table:
        """The slots of every display that an event names: SLOT, and what is known of their display."""
        named = self.events.filter(self.events["display_id"].notnull()).select("display_id").distinct()
        about = ("display_id", "user_id", "merchant_id", "experiment", "population", "ts", "country", "device")
        shown = self.displays(*about, "slots.item_id").semi_join(named, "display_id")
        slots = shown.select(*about, slot=shown["slots"].unnest())
        return self.kept(
            slots.select(*about, item_id=slots["slot"]["item_id"]).distinct().rename(shown_ts="ts")
        )  # fmt: skip

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
        about = self.clicks.select("experiment", "population", "shown_ts", "device", click_event_id="event_id")
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


@dataclass(frozen=True)
class Window:
    """The displays of one experiment with since <= ts < until, and the users whose displays they are.

    users: one row per user and population of the whole experiment: user_id, population, displays and slots (in the
    window), first and config_hash (of the first display of the experiment), first_shown (in the window).
    """

    log: Log
    experiment: str
    attribution: Attribution = DEFAULT
    since: datetime | None = None
    until: datetime | None = None

    def within(self, moment: Any) -> BooleanColumn:
        """Whether a display's moment lies in the window."""
        inside: BooleanColumn = moment.notnull()
        if self.since is not None:
            inside = inside & (moment >= self.since)
        return inside if self.until is None else inside & (moment < self.until)

    def displays(self, *columns: str, counted: bool = True) -> Table:
        """The window's displays. `counted`: without those of nameless users and of users of several populations."""
        away = counted and len(self.left_out)
        names = [column.partition(".")[0] for column in columns]
        shown = self.log.displays(*dict.fromkeys([*columns, "experiment", "ts", *(["user_id"] if away else [])]))
        shown = shown.filter(shown["experiment"] == self.experiment, self.within(shown["ts"]))
        shown = shown.anti_join(self.log.kept(self.left_out), "user_id") if away else shown
        return shown.select(*dict.fromkeys(names))

    @cached_property
    def everyone(self) -> pa.Table:
        """The users of the whole experiment, those included that are left out or were shown nothing in the window."""
        shown = self.log.displays("user_id", "population", "experiment", "ts", "config_hash", "slots.position")
        shown = shown.filter(shown["experiment"] == self.experiment)
        inside = self.within(shown["ts"])
        table = self.log.collect(
            shown.group_by(["user_id", "population"]).agg(
                displays=inside.cast("int64").sum(),
                slots=ibis.ifelse(inside, shown["slots"].length(), 0).sum(),
                first=shown["ts"].min(),
                first_shown=shown["ts"].min(where=inside),
                config_hash=shown["config_hash"].argmin(shown["ts"]),
            )
        )
        return table.sort_by([("population", "ascending"), ("user_id", "ascending")])

    @cached_property
    def mixed(self) -> pa.Array:
        """The users who saw several populations of the experiment, within the window or before or after it."""
        counted = self.everyone.group_by("user_id").aggregate([([], "count_all")])
        found = counted.filter(pc.greater(counted["count_all"], 1))["user_id"].combine_chunks()
        return found.filter(pc.not_equal(found, ""))

    @cached_property
    def left_out(self) -> pa.Table:
        """user_id of who does not count: "" for the nameless, if there are any, and the mixed."""
        nameless = pa.array([""] if self.nameless_displays else [], pa.string())
        return pa.table({"user_id": pa.concat_arrays([nameless, self.mixed.cast(pa.string())])})

    @cached_property
    def nameless_displays(self) -> int:
        nameless = self.everyone.filter(pc.equal(self.everyone["user_id"], ""))
        return int(pc.sum(nameless["displays"]).as_py() or 0)

    @cached_property
    def users(self) -> pa.Table:
        """Of `everyone`, who counts and was shown a banner in the window."""
        shown = self.everyone.filter(pc.greater(self.everyone["displays"], 0))
        return shown.filter(pc.invert(pc.is_in(shown["user_id"], self.left_out["user_id"].combine_chunks())))

    @cached_property
    def clicks(self) -> Table:
        """The clicks on counted displays of the window."""
        return self._earned(self.log.clicks)

    @cached_property
    def sales(self) -> Table:
        """The sales that counted displays of the window earned, whenever they were made."""
        return self._earned(self.log.sales(self.attribution))

    def _earned(self, earned: Table) -> Table:
        mine = earned.filter(earned["experiment"] == self.experiment, self.within(earned["shown_ts"]))
        return self.log.kept(mine.anti_join(self.log.kept(self.left_out), "user_id"))


def open_window(
    displays: LoggedRows | pa.Table,
    tracked: LoggedRows | pa.Table,
    experiment: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    attribution: Attribution = DEFAULT,
) -> Window:
    """The window of an experiment of a log.

    Args:
        experiment: its name; None: the one with most displays.

    Raises:
        ReportError: no display at all, or none of that experiment.
    """
    log = Log(displays, tracked)
    found = [row["experiment"] for row in log.experiments]
    if not found:
        raise ReportError("the log holds no display yet; send banner requests to the gateway first")
    if experiment is not None and experiment not in found:
        told = ", ".join(repr(printable(name)) for name in sorted(found))
        raise ReportError(f"the log holds no display of experiment {experiment!r}; it holds {told}")
    return Window(log, experiment or found[0], attribution, since, until)


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
