"""What a report holds: frozen values only, so that the terminal, the page and the JSON file show the same figures."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import pyarrow as pa

from data.attribution import Attribution
from data.settings import Settings
from data.workspace import Origin
from gateway.errors import GatewayError
from gateway.experiment.diversity_measures import Diversity
from gateway.experiment.figures import (
    CumulativeDay,
    Day,
    Logged,
    Popularity,
    SourceOverlap,
    SourceShare,
    SourceValue,
    StageLatency,
    Traffic,
    Version,
)
from gateway.experiment.statistics.moments import LEVEL, Mean, NotEstimable
from gateway.experiment.statistics.normalised import NormalisedUplift
from gateway.experiment.statistics.tails import Tails
from gateway.experiment.statistics.uplift import Difference, Uplift


class ReportError(GatewayError):
    """A log, or a choice of what to report, from which no report can be made."""


@dataclass(frozen=True, slots=True)
class Metric:
    """One outcome per user. `key` names it in JSON, in truths and in the columns of the per-user table."""

    key: str
    title: str
    unit: str


METRICS = (
    Metric("landed_clicks", "Landed clicks", "clicks per user"),
    Metric("sales", "Sales", "sales per user"),
    Metric("order_value", "Order value", "currency per user"),
)

Truth = Mapping[str, Mapping[str, float]]
"""Of a simulation: population -> metric key -> the true mean per user."""


class SimulatedTruth(Settings):
    """The truth of one experiment, over all of it, as a simulation leaves it in its workspace."""

    experiment: str
    means: dict[str, dict[str, float]]


Status = Literal["ok", "look", "alarm", "unknown"]


@dataclass(frozen=True, slots=True)
class Check:
    """One question about the health of the test, answered in a sentence."""

    name: str
    status: Status
    sentence: str


@dataclass(frozen=True, slots=True)
class Population:
    """Totals of one population over its users, each of whom saw at least one display, and its means per user."""

    name: str
    sources: tuple[str, ...]  # as configured, else those that the log names
    share: float | None  # as configured; None if not told
    users: int
    displays: int
    slots: int
    totals: Mapping[str, float]  # by metric key
    means: Mapping[str, Mean | NotEstimable]  # by metric key
    displays_per_user: Mean | NotEstimable
    degraded: int  # displays on which something failed open


Conclusion = Literal["gain", "loss", "unclear"]


@dataclass(frozen=True, slots=True)
class Comparison:
    """One metric of one population against another.

    Attributes:
        metric: key. added: the sources that the population has and the baseline lacks, if it lacks none of the others.
        difference: per user, in the metric's unit.
        adjusted: the uplift by CUPED, from what users did before the test; None if that is not known.
        stratified: the uplift of means post-stratified by how active users were before the test; None likewise.
        group_sequential: the interval of the last planned look that has been reached; None if no looks are planned.
        bootstrap: the interval by drawing users anew; None unless asked for.
        tails: None where a population has no outcome.
        normalised: by the reference population's uplift; None for the reference itself (1 by definition).
    """

    metric: str
    population: str
    baseline: str
    added: tuple[str, ...]
    uplift: Uplift | NotEstimable
    difference: Difference | NotEstimable
    adjusted: Uplift | NotEstimable | None
    tails: Tails | None
    normalised: NormalisedUplift | NotEstimable | None
    true_uplift: float | None
    true_normalised: float | None
    stratified: Uplift | NotEstimable | None = None
    group_sequential: tuple[float, float] | NotEstimable | None = None
    bootstrap: tuple[float, float] | None = None

    @property
    def conclusion(self) -> Conclusion:
        """What the interval says that holds at one moment, chosen beforehand."""
        return self._says((self.uplift.low, self.uplift.high)) if isinstance(self.uplift, Uplift) else "unclear"

    @property
    def lasting_conclusion(self) -> Conclusion:
        """What the always-valid interval says, once the outcomes are of enough users."""
        if not isinstance(self.uplift, Uplift) or self.tails is None or not self.tails.enough:
            return "unclear"
        return self._says(self.uplift.always_valid)

    @property
    def planned_conclusion(self) -> Conclusion:
        """What the group-sequential interval says, once the outcomes are of enough users."""
        found = self.group_sequential
        if not isinstance(found, tuple) or self.tails is None or not self.tails.enough:
            return "unclear"
        return self._says(found)

    @property
    def rests_on_one(self) -> bool:
        """One user has a large part of a population's outcome, or alone takes the interval off zero."""
        if self.tails is None:
            return False
        fragile = isinstance(self.uplift, Uplift) and not self.tails.stands(self.uplift.low, self.uplift.high)
        return self.tails.treated.rests_on_one or self.tails.baseline.rests_on_one or fragile

    def _says(self, interval: tuple[float, float]) -> Conclusion:
        """An interval that excludes 0 because of one user, or as chance often does, says nothing."""
        low, high = interval
        if not (low > 0 or high < 0) or self.tails is None:
            return "unclear"
        if not self.tails.stands(low, high) or self.tails.permutation_p > 1 - LEVEL:
            return "unclear"
        return "gain" if low > 0 else "loss"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to do, and why.

    Attributes:
        population, over: whom it is about: the population with most sources, and the one it adds a source to.
        reasons: sentences, in the order in which the rules were asked.
    """

    decision: Literal["ship", "roll back", "keep looking", "broken"]
    population: str
    over: str
    metric: str  # that decides; the others are guardrails
    reasons: tuple[str, ...]

    @property
    def pair(self) -> tuple[str, str]:
        return self.population, self.over


@dataclass(frozen=True, slots=True)
class SegmentRow:
    """One comparison among the displays of one segment; its p by Holm over the segments of a metric."""

    segment: str
    users: int  # of both populations
    comparison: Comparison
    adjusted_p: float | None


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that is shown of one experiment, in the order in which it is shown."""

    experiment: str
    logged: tuple[Logged, ...]  # every experiment of the log, that with most displays first
    origin: Origin
    attribution: Attribution
    first_days: int | None  # of every user, which alone count; None: the whole window
    baseline: str
    reference: str | None  # whose uplift scales the normalised one; None with fewer than two populations
    first: dt.datetime
    last: dt.datetime
    log_end: dt.datetime  # the newest row of the log: windows that end later are open
    checks: tuple[Check, ...]
    populations: tuple[Population, ...]
    comparisons: tuple[Comparison, ...]  # of each population over the baseline
    increments: tuple[Comparison, ...]  # of populations over another than the baseline, to which they add a source
    verdict: Verdict | None  # None with one population only
    traffic: Traffic
    truth: Truth | None
    days: tuple[Day, ...]
    cumulative: tuple[CumulativeDay, ...]  # of the verdict's populations
    source_shares: tuple[SourceShare, ...]
    source_overlaps: tuple[SourceOverlap, ...]
    source_values: tuple[SourceValue, ...]
    popularity_edges: tuple[float, ...]
    popularity: tuple[Popularity, ...]
    degraded: Mapping[str, Mapping[str, int]]  # what failed open -> population -> displays
    latency: tuple[StageLatency, ...]
    configs: tuple[Version, ...]
    bundles: tuple[Version, ...]
    segments: tuple[SegmentRow, ...]  # empty unless asked for
    diversity: Diversity | None  # None unless asked for
    users: pa.Table = field(repr=False, compare=False)  # one row per user: see `aggregates.per_user`

    @property
    def sources(self) -> tuple[str, ...]:
        """Every source seen, in the order of their first population's table."""
        return tuple(dict.fromkeys(share.source for share in self.source_shares))

    @property
    def subject(self) -> tuple[Comparison, ...]:
        """The comparisons that the verdict is about, one per metric."""
        pair = None if self.verdict is None else self.verdict.pair
        return tuple(one for one in (*self.increments, *self.comparisons) if (one.population, one.baseline) == pair)

    @property
    def rest(self) -> tuple[Comparison, ...]:
        """The comparisons with the baseline that the verdict is not about."""
        return tuple(one for one in self.comparisons if one not in self.subject)

    @property
    def others(self) -> tuple[Logged, ...]:
        """The other experiments of the log."""
        return tuple(one for one in self.logged if one.experiment != self.experiment)

    @property
    def mark(self) -> str:
        """What stands beside every figure of made-up data; empty for real data."""
        return self.origin.mark


def printable(text: str, limit: int = 48) -> str:
    """An id from a log without control characters, cut to `limit`; markup is escaped where it is shown."""
    shown = "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"
