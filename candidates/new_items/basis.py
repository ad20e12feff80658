"""What every source is extended with: the events given, popularity, and where new items stand among vectors."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from candidates.best_of.gbo import GlobalBestOf
from candidates.config import CboConfig, IndexConfig
from candidates.encoder import CountryItems
from candidates.new_items.evidence import Evidence
from candidates.new_items.growth import Growth
from candidates.new_items.placing import (
    PlacingConfig,
    blended,
    category_means,
    companion_weights,
    mean_vectors,
)
from data.timelines import Timelines


@dataclass(frozen=True)
class Extension:
    """What every source is extended with.

    Attributes:
        timelines: the users of the given events with all that is known of them, in positions of after.
        window: the same users with the given events alone: how popular things are in that time.
        askers: users of the workspace, to measure graphs with.
        popularity: float32 [I'], distinct users per item; the new ones' scaled to stand beside the old ones'.
    """

    growth: Growth
    timelines: Timelines
    window: Timelines
    askers: Timelines
    popularity: NDArray[np.float32]
    config: PlacingConfig
    index: IndexConfig
    cbo: CboConfig
    seed: int
    threads: int

    def best_of(self) -> GlobalBestOf:
        return GlobalBestOf.of(self.popularity, self.growth.after)

    def evidence(self, timelines: Timelines, country: str | None = None) -> Evidence:
        """From the users of one country, or of all."""
        chosen = [user for user, home in enumerate(timelines.countries) if country in (None, home)]
        return Evidence.of(timelines, np.array(chosen, np.int64), self.growth, self.config.history_limit)


def popularity_with_new(
    scores: NDArray[np.float32], growth: Growth, window: Evidence, scale_power: float
) -> NDArray[np.float32]:
    """float32 [I']: the best-of scores of before; a new item's users in the window, scaled up."""
    found = np.zeros(len(growth.after), np.float32)
    found[growth.moved] = scores
    found[growth.added] = window.users * window.popularity_scale(growth, scores) ** scale_power
    return found


def with_new_vectors(
    known: CountryItems, vectors: NDArray[np.float32], country: str, extension: Extension
) -> tuple[CountryItems, NDArray[np.int32], NDArray[np.float32]]:
    """A country's vectors [R, d] with those of the new items it can place between them.

    Returns:
        (what it knows now, rows int32 [R] where each row of before stands now, float32 [R', d]).
    """
    growth = extension.growth
    positions = growth.moved[known.items]
    evidence = extension.evidence(extension.timelines, country)
    shared = evidence.shared[:, positions]
    weights = companion_weights(shared, extension.popularity[positions], extension.config.companion_power)
    of_category = category_means(growth.after, growth.added, positions, vectors)
    placed = blended(mean_vectors(weights, vectors), of_category, evidence.users, extension.config.prior_users)
    can_be = placed.any(axis=1)
    items = growth.known(known, growth.added[can_be])
    rows = items.rows[positions]
    grown = np.zeros((len(items.items), vectors.shape[1]), np.float32)
    grown[rows] = vectors
    grown[items.rows[growth.added[can_be]]] = placed[can_be]
    return items, rows, grown
