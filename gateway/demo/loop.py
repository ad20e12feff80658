"""What a retraining from the log brings: two bundles asked the same later questions, whose true answers are known."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from candidates.evaluation import CUTOFFS, recalls_of_users, requests_from
from candidates.sources import load_sources
from data.bundle import Bundle
from data.items import ItemTable
from data.simulator import Marketplace
from data.statistics import Mean
from data.timelines import Timelines
from gateway.demo.replay import replay

SAMPLE = 4_000
"""Opportunities whose banners are compared, and users whose later views are asked for, at most."""


@dataclass(frozen=True)
class Change:
    """A figure of the first bundle and of the retrained one on the same questions.

    Attributes:
        difference: in pairs, its mean and the standard error over users.
    """

    first: float
    retrained: float
    difference: Mean

    @property
    def percent(self) -> float:
        return 100 * self.difference.value / self.first if self.first else float("nan")

    @property
    def percent_error(self) -> float:
        return 100 * self.difference.error / self.first if self.first else float("nan")

    def figures(self) -> dict[str, Any]:
        se = self.difference.error
        return {"first": self.first, "retrained": self.retrained, "difference": self.difference.value, "se": se}


@dataclass(frozen=True)
class Gain:
    """
    Attributes:
        landed_clicks: expected, per 1,000 displays of a population with all the given sources, exactly.
        recall: recall@20 of each source: what users viewed later and had not before.
        displays, users: that were compared.
    """

    landed_clicks: Change
    recall: dict[str, Change]
    displays: int
    users: int

    def figures(self) -> dict[str, Any]:
        return {
            "landed_clicks_per_1000": self.landed_clicks.figures() | {"percent": self.landed_clicks.percent},
            "recall@20": {name: one.figures() for name, one in self.recall.items()},
            "displays": self.displays,
            "users": self.users,
        }


def gain_of(
    marketplace: Marketplace,
    simulator: Path,
    bundles: tuple[Bundle, Bundle],
    later: NDArray[np.int64],
    sources: Sequence[str],
    processes: int,
) -> Gain:
    """Compare the first bundle with the retrained one on opportunities that neither has learnt from.

    Args:
        later: int64 [n], opportunities after the retraining; at most SAMPLE of them are used, evenly spread.
        sources: of the population.
    """
    some = later[:: -(-len(later) // SAMPLE)]
    first, retrained = (
        1000 * replay(simulator, {bundle.path: some}, {"all": sources}, processes).expected["all"][:, 0]
        for bundle in bundles
    )
    recall, users = _recalls(marketplace, bundles, int(marketplace.opportunities.ts[later[0]]), sources)
    difference = Mean.over_groups(retrained - first, marketplace.opportunities.user[some])
    return Gain(Change(float(first.mean()), float(retrained.mean()), difference), recall, len(some), users)


def _recalls(
    marketplace: Marketplace, bundles: tuple[Bundle, Bundle], cut_ts: int, names: Sequence[str]
) -> tuple[dict[str, Change], int]:
    items = ItemTable.load(bundles[0].catalog)
    views = marketplace.organic_events(0, marketplace.config.days)
    requests = requests_from(Timelines.of(views, items), items, cut_ts, SAMPLE // 2, np.random.default_rng(0))
    first, retrained = (load_sources(bundle, ItemTable.load(bundle.catalog)) for bundle in bundles)
    place, found, users = CUTOFFS.index(20), {}, 0
    for name in names:
        before, after = (recalls_of_users(source[name], requests)[:, place] for source in (first, retrained))
        users = len(before)
        found[name] = Change(float(before.mean()), float(after.mean()), Mean.of_difference(after, before))
    return found, users
