"""Who is compared with whom, by how much: populations over the baseline, and over the one they add a source to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gateway.experiment.aggregates import user_values
from gateway.experiment.model import METRICS, Comparison, Truth
from gateway.experiment.statistics.bootstrap import bootstrap_interval
from gateway.experiment.statistics.cuped import cuped
from gateway.experiment.statistics.group_sequential import Spending, bounds
from gateway.experiment.statistics.moments import NotEstimable, RatioMoments
from gateway.experiment.statistics.normalised import normalised_uplift
from gateway.experiment.statistics.post_stratification import post_stratified, strata_of
from gateway.experiment.statistics.tails import tails_of
from gateway.experiment.statistics.uplift import TUNED_FOR_USERS, Uplift, absolute_difference, relative_uplift

ACTIVITY = ("views_before", "clicks_before", "sales_before")
"""Columns of the users' table that say what they did before the test."""


@dataclass(frozen=True)
class Intervals:
    """Which intervals are wanted beside the ordinary one.

    Attributes:
        expected_users: of two populations compared, as planned: where always-valid intervals are tightest.
        looks: so many are planned, evenly until the expected users are there; None: always-valid intervals alone.
        spending: how the looks' error is spent.
        bootstrap: also by drawing users anew.
    """

    expected_users: int | None = None
    looks: int | None = None
    spending: Spending = "obrien-fleming"
    bootstrap: bool = False

    @property
    def tuned_for(self) -> int:
        """The users for whom always-valid intervals are tightest."""
        return self.expected_users or TUNED_FOR_USERS

    def of_looks(self, users: int, found: Uplift | NotEstimable) -> tuple[float, float] | NotEstimable | None:
        """The interval of the last look that so many users have reached."""
        if self.looks is None or self.expected_users is None:
            return None
        reached = min(self.looks, int(users * self.looks / self.expected_users + 1e-9))
        if not reached or isinstance(found, NotEstimable):
            first = -(-self.expected_users // self.looks)
            return found if isinstance(found, NotEstimable) else NotEstimable(f"the first look is at {first:,} users")
        return found.interval(_bound(self.looks, reached, self.spending))


@cache
def _bound(looks: int, reached: int, spending: Spending) -> float:
    """Of the last look reached, of so many planned evenly: the same for every metric."""
    return bounds([one / looks for one in range(1, reached + 1)], spending)[-1]


ORDINARY = Intervals()


class Comparer:
    """Compares populations of a table of users (`aggregates.per_user`).

    names: the baseline first, then the reference.
    """

    def __init__(
        self,
        users: pa.Table,
        names: Sequence[str],
        sources: Mapping[str, Sequence[str]],
        truth: Truth | None = None,
        intervals: Intervals = ORDINARY,
    ) -> None:
        self.names, self._sources, self._truth, self._intervals = list(names), sources, truth, intervals
        self._values = {name: user_values(users, name) for name in names}
        self._moments = {
            name: {metric.key: RatioMoments.of(values[metric.key]) for metric in METRICS}
            for name, values in self._values.items()
        }
        self._before = _activity(users, names)
        self._strata = (
            None
            if self._before is None
            else strata_of({name: before.sum(axis=1) for name, before in self._before.items()})
        )

    def over_baseline(self) -> tuple[Comparison, ...]:
        """Every other population over the first, by metric."""
        return tuple(self.compare(m.key, name, self.names[0]) for m in METRICS for name in self.names[1:])

    def increments(self) -> tuple[Comparison, ...]:
        """Populations over another than the baseline, to which they add sources, by metric."""
        pairs = [(name, self._smaller(name)) for name in self.names[1:]]
        others = [(name, over) for name, over in pairs if over is not None and over != self.names[0]]
        return tuple(self.compare(metric.key, name, over) for metric in METRICS for name, over in others)

    def users(self, population: str) -> int:
        """How many it has."""
        return len(self._values[population]["displays"])

    def compare(self, metric: str, population: str, baseline: str) -> Comparison:
        """One metric (key) of one population over another."""
        own, other = self._moments[population][metric], self._moments[baseline][metric]
        reference = self.names[1]
        scaled = baseline == self.names[0] and population != reference
        true, scale = (true_uplift(self._truth, metric, name, baseline) for name in (population, reference))
        uplift, tuned_for = relative_uplift(own, other, tuned_for=self._intervals.tuned_for), self._intervals.tuned_for
        values = self._values[population][metric], self._values[baseline][metric]
        return Comparison(
            metric=metric,
            population=population,
            baseline=baseline,
            added=self._added(population, baseline),
            uplift=uplift,
            difference=absolute_difference(own, other, tuned_for),
            adjusted=self._adjusted(metric, population, baseline),
            stratified=self._stratified(metric, population, baseline),
            group_sequential=self._intervals.of_looks(own.users + other.users, uplift),
            bootstrap=bootstrap_interval(*values) if self._intervals.bootstrap and min(map(len, values)) else None,
            tails=tails_of(*values, tuned_for),
            normalised=normalised_uplift(own, self._moments[reference][metric], other) if scaled else None,
            true_uplift=true,
            true_normalised=true / scale if true is not None and scale and scaled else None,
        )

    def _adjusted(self, metric: str, population: str, baseline: str) -> Uplift | NotEstimable | None:
        pair = (population, baseline)
        if self._before is None or any(len(self._values[name][metric]) < 2 for name in pair):
            return None
        found = cuped({name: self._values[name][metric] for name in pair}, {name: self._before[name] for name in pair})
        return relative_uplift(found.moments[population], found.moments[baseline], tuned_for=self._intervals.tuned_for)

    def _stratified(self, metric: str, population: str, baseline: str) -> Uplift | NotEstimable | None:
        if self._strata is None:
            return None
        values = self._values[population][metric], self._values[baseline][metric]
        strata = self._strata[population], self._strata[baseline]
        return post_stratified(*values, *strata, self._intervals.tuned_for)

    def _added(self, population: str, baseline: str) -> tuple[str, ...]:
        more, fewer = set(self._sources.get(population, ())), set(self._sources.get(baseline, ()))
        return tuple(sorted(more - fewer)) if fewer < more else ()

    def _smaller(self, name: str) -> str | None:
        """The population to which `name` adds fewest sources."""
        smaller = [other for other in self.names if self._added(name, other)]
        return min(smaller, key=lambda other: len(self._added(name, other)), default=None)


def true_uplift(truth: Truth | None, metric: str, population: str, baseline: str) -> float | None:
    """The relative uplift of the true means per user; None without a truth or with a true baseline of zero."""
    if truth is None or population not in truth or not truth.get(baseline, {}).get(metric):
        return None
    return truth[population][metric] / truth[baseline][metric] - 1


def _activity(users: pa.Table, names: Sequence[str]) -> dict[str, np.ndarray] | None:
    """By population, float64 [users, 3]: the logarithm of what they did before; None if the table does not say."""
    if ACTIVITY[0] not in users.column_names:
        return None
    found = {}
    for name in names:
        mine = users.filter(pc.equal(users["population"], name))
        found[name] = np.log1p(np.stack([mine[column].to_numpy() for column in ACTIVITY], axis=1).astype(np.float64))
    return found
