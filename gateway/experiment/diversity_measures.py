"""Measures of what users are shown, as values and as plain mathematics."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]

SURE, FAR, COLLAPSED = 3.0, 0.1, 0.5
"""A guardrail is looked at where a measure is worse by more than SURE standard errors and the part FAR; COLLAPSED: an
alarm."""


@dataclass(frozen=True, slots=True)
class Measure:
    """`better`: which way is good for users; `meaning`: one sentence."""

    key: str
    title: str
    better: Literal["more", "less"]
    meaning: str


MEASURES = (
    Measure("coverage", "Catalogue coverage", "more", "part of the catalogue among so many slots drawn at random"),
    Measure("gini", "Gini of exposure", "less", "0: every item is shown as often; 1: one item has all slots"),
    Measure("popularity_lift", "Popularity lift", "less", "views of shown items over those of items that users view"),
    Measure("variety", "Intra-banner diversity", "more", "chance that two slots of a banner differ in category"),
    Measure("miscalibration", "Miscalibration", "less", "divergence of a banner's categories from the user's own"),
    Measure("new_items", "Exposure of new items", "more", "never viewed items: their part of slots over that of items"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Estimate:
    """A measure of one population; NaN where nothing tells."""

    value: float
    standard_error: float


@dataclass(frozen=True, slots=True)
class DiversityDay:
    """The measures of one UTC day; coverage among the same number of slots on every day."""

    day: date
    population: str
    slots: int
    values: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class MerchantExposure:
    """How much of a merchant's catalogue each population was shown, whatever the number of slots."""

    merchant: str
    items: int
    slots: int
    shown: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Diversity:
    """Measures by population.

    Attributes:
        slots: drawn for coverage: as many as the smallest population has, so that populations compare.
        day_slots: the same for each day. new_share: part of the catalogue that nobody viewed before the test.
    """

    slots: int
    day_slots: int
    items: int
    new_share: float
    populations: Mapping[str, Mapping[str, Estimate]]
    days: tuple[DiversityDay, ...]
    merchants: tuple[MerchantExposure, ...]

    def change(self, key: str, population: str, over: str) -> tuple[float, float]:
        """(relative change of a measure, its z); NaN where it is not known."""
        one, other = (self.populations[name][key] for name in (population, over))
        error = np.hypot(one.standard_error, other.standard_error)
        with np.errstate(divide="ignore", invalid="ignore"):
            gap = np.float64(one.value - other.value)
            return float(gap / abs(other.value)), float(gap / error) if error > 0 else 0.0

    def worse(self, population: str, over: str) -> dict[str, float]:
        """By measure: its relative change, where that is surely and clearly worse."""
        found = {}
        for one in MEASURES:
            change, z = self.change(one.key, population, over)
            sign = -1 if one.better == "more" else 1
            if sign * z > SURE and sign * change > FAR:
                found[one.key] = change
        return found

    def drift(self, key: str, population: str) -> tuple[float, float, float] | None:
        """(mean of the first third of the days, of the last, z of their difference over days); None with few days."""
        values = np.array([one.values[key] for one in self.days if one.population == population])
        values = values[np.isfinite(values)]
        third = len(values) // 3
        if third < 2:
            return None
        first, last = values[:third], values[-third:]
        error = float(np.sqrt((first.var(ddof=1) + last.var(ddof=1)) / third))
        gap = float(last.mean() - first.mean())
        return float(first.mean()), float(last.mean()), gap / error if error > 0 else 0.0


def expected_coverage(counts: Counts, slots: int) -> float:
    """The expected part of the items among `slots` drawn without replacement (rarefaction; Hurlbert 1971, equation 6).

    1/I sum_i (1 - C(N - c_i, n) / C(N, n)), with c the items' slots, N their sum and n = `slots`.
    """
    total, rare = int(counts.sum()), counts[counts > 0].astype(np.float64)
    if not 0 < slots <= total:
        return float("nan")
    left = total - rare
    possible = left >= slots
    chance = np.zeros(len(rare))
    log = gammaln(left + 1) - gammaln(np.maximum(left - slots, 0) + 1) - gammaln(total + 1) + gammaln(total - slots + 1)
    chance[possible] = np.exp(log[possible])
    return float((1 - chance).sum() / len(counts))


def gini(counts: Counts) -> float:
    """Of all items, those never shown included: sum_i (2 i - I - 1) c_(i) / (I sum c), c ascending."""
    ordered = np.sort(counts).astype(np.float64)
    place = np.arange(1, len(ordered) + 1)
    return float(((2 * place - len(ordered) - 1) @ ordered) / (len(ordered) * ordered.sum()))


def jackknifed(counts: Counts, sums: Floats, measure: Callable[[Counts, Floats], Floats]) -> dict[str, Estimate]:
    whole, all_sums = counts.sum(axis=1), sums.sum(axis=0)
    value = measure(whole, all_sums)
    used = np.flatnonzero(counts.sum(axis=0) > 0)
    without = np.array([measure(whole - counts[:, one], all_sums - sums[one]) for one in used])
    if len(used) < 2:
        error = np.full(len(value), np.nan)
    else:
        spread = ((without - without.mean(axis=0)) ** 2).sum(axis=0)
        error = np.sqrt(spread * (len(used) - 1) / len(used))
    return {one.key: Estimate(float(value[k]), float(error[k])) for k, one in enumerate(MEASURES)}
