"""What every source is extended with: the events given, popularity, and where new items stand among vectors."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from candidates.cold_start.catalog_diff import CatalogDiff
from candidates.cold_start.evidence import Evidence
from candidates.cold_start.vectors import (
    ColdStartConfig,
    blended,
    category_means,
    companion_weights,
    mean_vectors,
)
from candidates.config import CboConfig, IndexConfig
from candidates.encoder import CountryItems
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

    diff: CatalogDiff
    timelines: Timelines
    window: Timelines
    askers: Timelines
    popularity: NDArray[np.float32]
    config: ColdStartConfig
    index: IndexConfig
    cbo: CboConfig
    seed: int
    threads: int

    def evidence(self, timelines: Timelines, country: str | None = None) -> Evidence:
        """From the users of one country, or of all."""
        chosen = [user for user, home in enumerate(timelines.countries) if country in (None, home)]
        return Evidence.of(timelines, np.array(chosen, np.int64), self.diff, self.config.history_limit)


def popularity_with_new(
    scores: NDArray[np.float32], diff: CatalogDiff, window: Evidence, scale_power: float
) -> NDArray[np.float32]:
    """float32 [I']: the best-of scores of before; a new item's users in the window, scaled up."""
    found = np.zeros(len(diff.after), np.float32)
    found[diff.moved] = scores
    found[diff.added] = window.users * window.popularity_scale(diff, scores) ** scale_power
    return found


def with_new_vectors(
    known: CountryItems, vectors: NDArray[np.float32], country: str, extension: Extension
) -> tuple[CountryItems, NDArray[np.int32], NDArray[np.float32]]:
    """A country's vectors [R, d] with those of the new items it can place between them.

    Returns:
        (what it knows now, rows int32 [R] where each row of before stands now, float32 [R', d]).
    """
    diff = extension.diff
    positions = diff.moved[known.items]
    evidence = extension.evidence(extension.timelines, country)
    shared = evidence.shared[:, positions]
    weights = companion_weights(shared, extension.popularity[positions], extension.config.companion_power)
    of_category = category_means(diff.after, diff.added, positions, vectors)
    placed = blended(mean_vectors(weights, vectors), of_category, evidence.users, extension.config.prior_users)
    can_be = placed.any(axis=1)
    items = diff.known(known, diff.added[can_be])
    rows = items.rows[positions]
    grown = np.zeros((len(items.items), vectors.shape[1]), np.float32)
    grown[rows] = vectors
    grown[items.rows[diff.added[can_be]]] = placed[can_be]
    return items, rows, grown
