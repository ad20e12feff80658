"""The displays of one experiment that count, in the window asked for, and the users whose displays they are.

The window chooses displays, each with all that it earned (see `logs`). So windows, days and users add up.
"""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import cached_property
from typing import Any

import ibis
import pyarrow as pa
import pyarrow.compute as pc
from ibis.expr.types import BooleanColumn, Table

from data.attribution import DEFAULT, Attribution
from data.eventlog import LoggedRows
from gateway.experiment.logs import BANNERS, Log, shown_at
from gateway.experiment.model import ReportError, printable


@dataclass(frozen=True)
class Window:
    """The displays of one experiment with since <= ts < until, and the users whose displays they are.

    With `first_days` every user has a window of their own: their first so many days since their first display, which is
    what since and until are about, and what happened in those days. Only users whose days are over count.

    users: one row per user and population of the whole experiment: user_id, population, displays and slots (in the
    window), first and config_hash (of the first display of the experiment), first_shown (in the window).
    surface: of the displays; None: all of them.
    """

    log: Log
    experiment: str
    attribution: Attribution = DEFAULT
    since: datetime | None = None
    until: datetime | None = None
    first_days: int | None = None
    surface: str | None = BANNERS

    def within(self, moment: Any) -> BooleanColumn:
        """Whether a display's moment, or with `first_days` a user's first one, lies in the window."""
        inside: BooleanColumn = moment.notnull()
        if self.since is not None:
            inside = inside & (moment >= self.since)
        inside = inside if self.until is None else inside & (moment < self.until)
        if self.first_days is None:
            return inside
        return inside & (moment + ibis.interval(days=self.first_days) <= self.log.end)

    @cached_property
    def _firsts(self) -> Table:
        """user_id and own_first: of the users whose first days are over, the moment of the first display."""
        shown = self._of_experiment("user_id", "ts")
        firsts = shown.group_by("user_id").agg(own_first=shown["ts"].min())
        return self.log.kept(firsts.filter(self.within(firsts["own_first"])))

    def _inside(self, table: Table, moment: str) -> Table:
        """The rows whose moment lies in the window, or in their user's own."""
        if self.first_days is None:
            return table.filter(self.within(table[moment]))
        own = table.join(self._firsts, "user_id")
        return own.filter(own[moment] < own["own_first"] + ibis.interval(days=self.first_days)).drop("own_first")

    def _of_experiment(self, *columns: str) -> Table:
        """The experiment's displays on its surface."""
        shown = self.log.displays(*dict.fromkeys([*columns, "experiment", "surface"]))
        shown = shown.filter(shown["experiment"] == self.experiment)
        return shown if self.surface is None else shown.filter(shown_at(shown, self.surface))

    def displays(self, *columns: str, counted: bool = True) -> Table:
        """The window's displays. `counted`: without those of nameless users and of users of several populations."""
        away = counted and len(self.left_out)
        names = [column.partition(".")[0] for column in columns]
        by_user = away or self.first_days is not None
        shown = self._inside(self._of_experiment(*columns, "ts", *(["user_id"] if by_user else [])), "ts")
        shown = shown.anti_join(self._away, "user_id") if away else shown
        return shown.select(*dict.fromkeys(names))

    @cached_property
    def everyone(self) -> pa.Table:
        """The users of the whole experiment, those included that are left out or were shown nothing in the window."""
        shown = self._of_experiment("user_id", "population", "ts", "config_hash", "slots.position")
        inside = self.within(shown["ts"])
        if self.first_days is not None:
            shown = shown.left_join(self._firsts, "user_id").drop("user_id_right")
            inside = shown["own_first"].notnull()
            inside = inside & (shown["ts"] < shown["own_first"] + ibis.interval(days=self.first_days))
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
    def _away(self) -> Table:
        return self.log.kept(self.left_out)

    @cached_property
    def nameless_displays(self) -> int:
        nameless = self.everyone.filter(pc.equal(self.everyone["user_id"], ""))
        return int(pc.sum(nameless["displays"]).as_py() or 0)

    @cached_property
    def counted(self) -> pa.Table:
        """Of `everyone`, who is not left out."""
        everyone = self.everyone
        return everyone.filter(pc.invert(pc.is_in(everyone["user_id"], self.left_out["user_id"].combine_chunks())))

    @cached_property
    def users(self) -> pa.Table:
        """Of `counted`, who was shown a banner in the window."""
        return self.counted.filter(pc.greater(self.counted["displays"], 0))

    @cached_property
    def clicks(self) -> Table:
        """The clicks on counted displays of the window."""
        return self._earned(self.log.clicks)

    @cached_property
    def sales(self) -> Table:
        """The sales that counted displays of the window earned, whenever they were made."""
        return self._earned(self.log.sales(self.attribution))

    def _earned(self, earned: Table) -> Table:
        mine = earned.filter(earned["experiment"] == self.experiment)
        mine = mine if self.surface is None else mine.filter(shown_at(mine, self.surface))
        mine = self._inside(mine, "shown_ts" if self.first_days is None else "ts")
        return self.log.kept(mine.anti_join(self._away, "user_id"))


def utc_day(moment: Any) -> Any:
    """Of a column of moments: the UTC day, as whole days since 1970."""
    return (moment.epoch_seconds() / 86_400).floor().cast("int64")


def date_of(day: int) -> date:
    """Of whole days since 1970."""
    return date(1970, 1, 1) + timedelta(days=day)


def open_window(
    displays: LoggedRows | pa.Table,
    tracked: LoggedRows | pa.Table,
    experiment: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    attribution: Attribution = DEFAULT,
    first_days: int | None = None,
    surface: str | None = BANNERS,
) -> Window:
    """The window of an experiment of a log.

    Args:
        experiment: its name; None: the one with most displays.

    Raises:
        ReportError: no display at all, or none of that experiment; a window that ends before it begins.
    """
    if since is not None and until is not None and since > until:
        raise ReportError(
            f"--since {since:%Y-%m-%dT%H:%M} is later than --until {until:%Y-%m-%dT%H:%M}; expected it before"
        )
    log = Log(displays, tracked)
    found = [row["experiment"] for row in log.experiments]
    if not found:
        raise ReportError("the log holds no display yet; send banner requests to the gateway first")
    if experiment is not None and experiment not in found:
        told = ", ".join(repr(printable(name)) for name in sorted(found))
        raise ReportError(f"the log holds no display of experiment {experiment!r}; it holds {told}")
    return Window(log, experiment or found[0], attribution, since, until, first_days, surface)
