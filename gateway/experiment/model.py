"""What a report holds: frozen values only, so that the terminal, the page and the JSON file show the same figures."""

import dataclasses
import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from data.attribution import Attribution
from data.settings import Settings
from data.workspace import Origin
from gateway.errors import GatewayError
from gateway.experiment.statistics.moments import Mean, NotEstimable
from gateway.experiment.statistics.normalised import NormalisedUplift
from gateway.experiment.statistics.uplift import Uplift


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
    share: float | None  # as configured; None if not told
    users: int
    displays: int
    slots: int
    totals: Mapping[str, float]  # by metric key
    means: Mapping[str, Mean | NotEstimable]  # by metric key
    displays_per_user: Mean | NotEstimable
    degraded: int  # displays on which something failed open


@dataclass(frozen=True, slots=True)
class Comparison:
    """One metric of one population against the baseline; `normalised` by the reference population's uplift."""

    metric: str  # key
    population: str
    uplift: Uplift | NotEstimable
    normalised: NormalisedUplift | NotEstimable | None  # None for the reference itself (1 by definition)
    true_uplift: float | None
    true_normalised: float | None


@dataclass(frozen=True, slots=True)
class SourceShare:
    """A source's part of a population's displayed slots, as fractions of them.

    split: a slot proposed by k sources counts 1/k for each, so a population's splits add up to 1 (Table 5).
    proposed: the source is among those that proposed the slot's item. alone: it is the only one.
    """

    population: str
    source: str
    split: float
    proposed: float
    alone: float


@dataclass(frozen=True, slots=True)
class Day:
    """Attributed sales of one UTC day and population. `open`: displays of that day may still earn sales."""

    day: dt.date
    population: str
    displays: int
    sales: int
    order_value: float
    open: bool


@dataclass(frozen=True, slots=True)
class Popularity:
    """How often the items that a source placed had been viewed before; each slot weighs 1 / its sources."""

    source: str
    slots: float  # weight in all
    mean_views: float
    median_views: float
    unseen: float  # fraction of the weight on items without a view
    histogram: tuple[float, ...]  # fractions of the weight per bin of Report.popularity_edges


@dataclass(frozen=True, slots=True)
class StageLatency:
    """Time spent in one stage of a banner, over all displays that logged it."""

    stage: str
    displays: int
    p50_us: float
    p99_us: float


@dataclass(frozen=True, slots=True)
class Version:
    """A configuration hash or bundle version that the log names, when, and how many displays of each population."""

    name: str
    first: dt.datetime
    last: dt.datetime
    displays: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Logged:
    """An experiment of the log, and how many displays it has there in all."""

    experiment: str
    displays: int


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that is shown of one experiment, in the order in which it is shown."""

    experiment: str
    logged: tuple[Logged, ...]  # every experiment of the log, that with most displays first
    origin: Origin
    attribution: Attribution
    baseline: str
    reference: str | None  # whose uplift scales the normalised one; None with fewer than two populations
    first: dt.datetime
    last: dt.datetime
    log_end: dt.datetime  # the newest row of the log: windows that end later are open
    checks: tuple[Check, ...]
    populations: tuple[Population, ...]
    comparisons: tuple[Comparison, ...]
    truth: Truth | None
    days: tuple[Day, ...]
    source_shares: tuple[SourceShare, ...]
    popularity_edges: tuple[float, ...]
    popularity: tuple[Popularity, ...]
    degraded: Mapping[str, Mapping[str, int]]  # what failed open -> population -> displays
    latency: tuple[StageLatency, ...]
    configs: tuple[Version, ...]
    bundles: tuple[Version, ...]

    @property
    def sources(self) -> tuple[str, ...]:
        """Every source seen, in the order of their first population's table."""
        return tuple(dict.fromkeys(share.source for share in self.source_shares))

    @property
    def others(self) -> tuple[Logged, ...]:
        """The other experiments of the log."""
        return tuple(one for one in self.logged if one.experiment != self.experiment)

    @property
    def mark(self) -> str:
        """What stands beside every figure of made-up data; empty for real data."""
        return "SIMULATED" if self.origin.simulated else ""


def printable(text: str, limit: int = 48) -> str:
    """An id from a log without control characters, cut to `limit`; markup is escaped where it is shown."""
    shown = "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"


def report_figures(report: Report) -> dict[str, Any]:
    """The report as JSON values: dates in ISO 8601, what is not estimable as {"not_estimable_yet": reason}."""
    figures: dict[str, Any] = _json(report)
    return figures


def _json(value: Any) -> Any:
    if isinstance(value, NotEstimable):
        return {"not_estimable_yet": value.reason}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _json(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Settings):
        return value.model_dump()
    if isinstance(value, Mapping):
        return {str(key): _json(one) for key, one in value.items()}
    if isinstance(value, tuple | list):
        return [_json(one) for one in value]
    if isinstance(value, dt.date):
        return value.isoformat()
    return value
