"""The uplift as it stood at the end of each day: what somebody who looked then would have seen."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data.attribution import user_outcomes
from data.schema import DAY_US
from gateway.experiment.figures import CumulativeDay
from gateway.experiment.model import METRICS
from gateway.experiment.statistics.moments import RatioMoments
from gateway.experiment.statistics.uplift import TUNED_FOR_USERS, relative_uplift
from gateway.experiment.window import Window, date_of, utc_day

MOST_DAYS = 60
"""Of a longer test so many days are shown, evenly."""


def cumulative_uplift(
    window: Window, users: pa.Table, pair: tuple[str, str], tuned_for: int = TUNED_FOR_USERS
) -> tuple[CumulativeDay, ...]:
    """By metric, then by day: of the users shown a banner until then, with what they did until then.

    Args:
        users: of `aggregates.per_user`. pair: who is compared with whom.
        tuned_for: users expected, for the always-valid band.
    """
    clicks = window.clicks.mutate(day=utc_day(window.clicks["ts"]))
    sales = window.sales.mutate(day=utc_day(window.sales["ts"]))
    happened = window.log.collect(user_outcomes(clicks, sales, ("population", "user_id", "day")))
    first = pc.floor(pc.divide(pc.cast(pc.cast(users["first_shown"], pa.int64()), pa.float64()), float(DAY_US)))
    users = users.select(["user_id", "population"]).append_column("arrived", first.cast(pa.int64()))
    if not len(users):
        return ()
    days = _days(users["arrived"].to_numpy(), happened["day"].to_numpy())
    parts = [_Sums(users, happened, name, days) for name in pair]
    found = []
    for metric in METRICS:
        for place, day in enumerate(days):
            own, other = (part.moments(metric.key, place) for part in parts)
            uplift = relative_uplift(own, other, tuned_for=tuned_for)
            found.append(CumulativeDay(date_of(int(day)), metric.key, *pair, own.users + other.users, uplift))
    return tuple(found)


class _Sums:
    """One population's users by the day they arrived, and each one's sums until each of some days."""

    def __init__(self, users: pa.Table, happened: pa.Table, population: str, days: np.ndarray) -> None:
        mine = users.filter(pc.equal(users["population"], population)).sort_by("arrived")
        self._there = np.searchsorted(mine["arrived"].to_numpy(), days, side="right")
        did = happened.filter(pc.equal(happened["population"], population))
        who = pc.index_in(did["user_id"], mine["user_id"].combine_chunks()).to_numpy(zero_copy_only=False)
        known = ~np.isnan(who.astype(np.float64))
        self._who = who[known].astype(np.int64)
        self._place = np.searchsorted(days, did["day"].to_numpy()[known])
        self._values = {one.key: did[one.key].to_numpy()[known].astype(np.float64) for one in METRICS}

    def moments(self, metric: str, place: int) -> RatioMoments:
        """Of the users there at the end of days[place]."""
        until = self._place <= place
        sums = np.bincount(self._who[until], self._values[metric][until], minlength=int(self._there[-1]))
        return RatioMoments.of(sums[: self._there[place]])


def _days(arrived: np.ndarray, happened: np.ndarray) -> np.ndarray:
    """int64, ascending: from the first arrival to the last arrival or outcome."""
    last = int(max(arrived.max(), happened.max(initial=arrived.max())))
    every = np.arange(int(arrived.min()), last + 1)
    if len(every) <= MOST_DAYS:
        return every
    return np.unique(every[np.linspace(0, len(every) - 1, MOST_DAYS).round().astype(int)])
