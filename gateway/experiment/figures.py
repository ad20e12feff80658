"""What was served and what followed, as frozen values: shares of sources, days, popularity, times, versions."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass

from gateway.experiment.statistics.moments import NotEstimable
from gateway.experiment.statistics.uplift import Uplift


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
class SourceOverlap:
    """Of the slots of a population that `source` proposed, the part that `other` proposed too, a fraction."""

    population: str
    source: str
    other: str
    share: float


@dataclass(frozen=True, slots=True)
class SourceValue:
    """What the slots that one source alone proposed earned in a population."""

    population: str
    source: str
    slots: int
    landed_clicks: float
    sales: float
    order_value: float


@dataclass(frozen=True, slots=True)
class CumulativeDay:
    """A metric's uplift as it stood at the end of a UTC day, of `users` of both populations."""

    day: dt.date
    metric: str
    population: str
    baseline: str
    users: int
    uplift: Uplift | NotEstimable


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
class Traffic:
    """What one day's full traffic is: `users` counted over `days` (of the window, at least one)."""

    users: int
    days: float
