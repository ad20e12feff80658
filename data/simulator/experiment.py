"""A/B tests without a gateway: displays by given policies, the users' answers, and the truth they estimate."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from data.errors import DataError
from data.schema import DISPLAY_SCHEMA, SLOT_TYPE
from data.simulator.answers import NO_ITEM, Answerer
from data.simulator.behaviour import DEVICES
from data.simulator.marketplace import Marketplace
from data.simulator.policies import Policy
from data.simulator.randomness import generator
from data.simulator.tables import taken

_RECENT = 10


class Outcomes(NamedTuple):
    """Means per user."""

    landed_clicks: float
    sales: float
    order_value: float


class ABTest(NamedTuple):
    """One simulated test: DISPLAY_SCHEMA, EVENT_SCHEMA, and per population the true mean had it been everybody."""

    displays: pa.Table
    tracked: pa.Table
    truth: dict[str, Outcomes]


def ab_test(marketplace: Marketplace, policies: Mapping[str, Policy], shares: Mapping[str, float], seed: int) -> ABTest:
    """One A/B test over every opportunity; `Experiment` repeats one many times at less cost.

    Args:
        policies, shares: by population; shares need not sum to 1.
        seed: of the assignment and of the users' answers; the marketplace stays.
    """
    return Experiment(marketplace, policies).run(shares, seed)


class Experiment:
    """Populations with a policy each over one marketplace, whose slates and truth are computed once.

    The truth of a population is the mean, over all users with at least one opportunity, of the sum over their
    opportunities of the expected outcome had they been in it.

    Attributes:
        users: int32 [n], every user with an opportunity.
        slates: by population, int [N, S], for every opportunity.
        expected: by population, float64 [N, 3].
        truth: by population.
    """

    def __init__(self, marketplace: Marketplace, policies: Mapping[str, Policy]) -> None:
        self.marketplace, self.policies = marketplace, dict(policies)
        everything = np.arange(len(marketplace.opportunities))
        self.users = np.unique(marketplace.opportunities.user)
        self.slates = {name: np.asarray(policy(everything)) for name, policy in self.policies.items()}
        answerer = Answerer(marketplace)
        self.expected = {name: answerer.expected(everything, slates) for name, slates in self.slates.items()}
        self.truth = {
            name: Outcomes(*(values.sum(axis=0) / len(self.users)).tolist()) for name, values in self.expected.items()
        }

    def assignment(self, shares: Mapping[str, float], seed: int) -> NDArray[np.int64]:
        """int64 [U]: each user's population, a position in `policies`, at random by shares.

        Raises:
            DataError: populations other than those of the policies, or shares that are no weights.
        """
        weights = np.array([shares.get(name, -1.0) for name in self.policies])
        if set(shares) != set(self.policies) or (weights < 0).any() or not 0 < weights.sum() < np.inf:
            raise DataError(f"shares {dict(shares)}; expected non-negative shares of {', '.join(self.policies)}")
        draws = generator(seed, "assignment").random(len(self.marketplace.users))
        return np.searchsorted(np.cumsum(weights) / weights.sum(), draws, side="right")

    def run(self, shares: Mapping[str, float], seed: int, assignment: NDArray[np.integer] | None = None) -> ABTest:
        """One test: assign by shares (unless `assignment` int [U] is given), display, answer."""
        assigned = self.assignment(shares, seed) if assignment is None else assignment
        population, slates = self._shown(assigned)
        everything = np.arange(len(slates))
        displays = _display_table(self.marketplace, everything, slates, population, self.policies)
        tracked = Answerer(self.marketplace, seed).answer(everything, slates)
        return ABTest(displays, tracked, self.truth)

    def outcomes(self, shares: Mapping[str, float], seed: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """The same test as `run`, without its tables: (population [n], METRICS float64 [n, 3]) of each of `users`."""
        assigned = self.assignment(shares, seed)
        _, slates = self._shown(assigned)
        per_display = Answerer(self.marketplace, seed).outcomes(np.arange(len(slates)), slates)
        user = np.searchsorted(self.users, self.marketplace.opportunities.user)
        sums = [np.bincount(user, column, minlength=len(self.users)) for column in per_display.T]
        return assigned[self.users], np.stack(sums, axis=1)

    def _shown(self, assigned: NDArray[np.integer]) -> tuple[NDArray[np.integer], NDArray[np.int64]]:
        """(population [N], slates [N, S]) of every opportunity."""
        population = assigned[self.marketplace.opportunities.user]
        width = max(slates.shape[1] for slates in self.slates.values())
        shown = np.full((len(population), width), NO_ITEM, np.int64)
        for place, slates in enumerate(self.slates.values()):
            rows = population == place
            shown[rows, : slates.shape[1]] = slates[rows]
        return population, shown


def _display_table(
    marketplace: Marketplace,
    which: NDArray[np.int64],
    slates: NDArray[np.int64],
    population: NDArray[np.integer],
    policies: Mapping[str, Policy],
) -> pa.Table:
    at, config, count = marketplace.opportunities, marketplace.config, len(which)
    source_of = [getattr(policy, "name", population_name) for population_name, policy in policies.items()]
    nothing, no_strings = np.zeros(count + 1, np.int32), pa.array([], pa.string())
    recent = _recent_items(marketplace, which)
    columns = {
        "display_id": pa.array([f"d{one:08d}" for one in which.tolist()]),
        "ts": pa.array(at.ts[which]).cast(DISPLAY_SCHEMA.field("ts").type),
        "user_id": taken(marketplace.user_ids, at.user[which]),
        "merchant_id": taken(marketplace.merchant_ids, at.merchant[which]),
        "country": taken(config.countries, at.country[which]),
        "publisher": taken(config.publishers, at.publisher[which]),
        "device": taken(DEVICES, at.device[which]),
        "experiment": pa.repeat("simulated", count),
        "population": taken(list(policies), population),
        "config_hash": pa.repeat(config.fingerprint()[:12], count),
        "bundle_version": pa.repeat("simulator", count),
        "degraded": pa.ListArray.from_arrays(nothing, no_strings),
        "recent_items": _lists(recent, marketplace.item_ids),
        "recent_categories": _lists(recent, [marketplace.tree.paths[leaf] for leaf in marketplace.items.leaf.tolist()]),
        "dense_names": pa.ListArray.from_arrays(nothing, no_strings),
        "stage_us": pa.MapArray.from_arrays(nothing, no_strings, pa.array([], pa.int64())),
        "slots": _slot_column(marketplace, slates, population, source_of),
        "surface": pa.repeat("", count),
        "policy": pa.nulls(count, pa.string()),
        "rules": pa.nulls(count, pa.list_(pa.string())),
    }
    return pa.table([columns[name] for name in DISPLAY_SCHEMA.names], schema=DISPLAY_SCHEMA)


def _slot_column(
    marketplace: Marketplace, slates: NDArray[np.int64], population: NDArray[np.integer], source_of: list[str]
) -> pa.ListArray:
    shown = slates != NO_ITEM
    row, position = np.nonzero(shown)
    item, count = slates[shown], len(row)
    one_each = np.arange(count + 1, dtype=np.int32)
    values = {
        "position": pa.array(position.astype(np.int32)),
        "item_id": taken(marketplace.item_ids, item),
        "category": taken(marketplace.tree.paths, marketplace.items.leaf[item]),
        "sources": pa.ListArray.from_arrays(one_each, taken(source_of, population[row])),
        "score": pa.array(np.zeros(count, np.float32)),
        "dense": pa.ListArray.from_arrays(np.zeros(count + 1, np.int32), pa.array([], pa.float32())),
        "propensity": pa.nulls(count, pa.float32()),
        "shadow_score": pa.nulls(count, pa.float32()),
    }
    slots = pa.StructArray.from_arrays([values[field.name] for field in SLOT_TYPE], fields=list(SLOT_TYPE))
    return pa.ListArray.from_arrays(_offsets(shown.sum(axis=1)), slots)


def _recent_items(marketplace: Marketplace, which: NDArray[np.int64]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """(offsets [n + 1], item positions) of the newest events before each opportunity, newest last."""
    at = marketplace.opportunities
    start, end = marketplace.history_ranges(at.user[which], at.ts[which], _RECENT)
    offsets = _offsets(end - start)
    places = np.arange(offsets[-1]) + np.repeat(start - offsets[:-1], end - start)
    return offsets, marketplace.organic.item[marketplace.organic.by_user[places]]


def _lists(rows: tuple[NDArray[np.int32], NDArray[np.int32]], strings: list[str]) -> pa.ListArray:
    return pa.ListArray.from_arrays(rows[0], taken(strings, rows[1]))


def _offsets(lengths: NDArray[np.integer]) -> NDArray[np.int32]:
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
