"""Which spectral vectors suit a data set: weights, ridge, popularity and dimension are tried on validation users."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

from candidates.config import SpectralGrid, SpectralValues
from candidates.matrices.spectral import Spectrum

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Choice:
    """The best of a grid, what it measured, and the decomposition it was measured with (of its dimension or more)."""

    values: SpectralValues
    quality: float
    spectrum: Spectrum


def choose(
    grid: SpectralGrid,
    spectrum_of: Callable[[float, float, int], Spectrum],
    quality: Callable[[Spectrum, SpectralValues], float],
    advance: Callable[[str], None] = lambda note: None,
) -> Choice:
    """The choice of best quality; of equals the first tried.

    Args:
        spectrum_of: the decomposition by user power, item power and dimension, without what `quality` asks for.
        quality: of the vectors on validation users; greater is better.
        advance: called after every decomposition, with a note on the best so far.
    """
    best: Choice | None = None
    for user_power, item_power in weightings(grid):
        spectrum = spectrum_of(user_power, item_power, grid.first_dimension)
        start = SpectralValues(
            user_power=user_power,
            item_power=item_power,
            ridge=grid.middle_ridge,
            output_power=item_power - grid.output_drops[0],
            dimension=grid.first_dimension,
        )
        best = _better(best, _climb(grid, start, grid.ridges[::2], spectrum, quality))
        advance(f"validation {best.quality:.4f}")
    assert best is not None
    for dimensions in (grid.dimensions, *((one,) for one in grid.wider)):
        values, spectrum = best.values, best.spectrum
        if max(dimensions) > grid.first_dimension:
            spectrum = spectrum_of(values.user_power, values.item_power, max(dimensions))
        ridges = _around(grid.ridges, values.ridge)
        for dimension in dimensions:
            begin = values.changed(dimension=dimension)
            best = _better(best, _climb(grid, begin, ridges, spectrum, quality))
        advance(f"validation {best.quality:.4f}")
        if best.values.dimension != max(dimensions):
            break
    logger.info("spectral vectors: %s", best.values)
    return best


def weightings(grid: SpectralGrid) -> list[tuple[float, float]]:
    """Every pair of a user power and an item power."""
    return [(user, item) for user in grid.user_powers for item in grid.item_powers]


def _better(best: Choice | None, other: Choice) -> Choice:
    return other if best is None or other.quality > best.quality else best


def _climb(
    grid: SpectralGrid,
    start: SpectralValues,
    ridges: Sequence[float],
    spectrum: Spectrum,
    quality: Callable[[Spectrum, SpectralValues], float],
) -> Choice:
    """From `start` every output vector with every bias and then every ridge, until neither finds a better one.

    Output vectors and biases come first and together: popularity and lengths make up for each other.
    """
    powers = [start.item_power - drop for drop in grid.output_drops]

    @cache
    def measured(values: SpectralValues) -> Choice:
        return Choice(values, quality(spectrum, values), spectrum)

    best, before = measured(start), None
    while best is not before:
        before = best
        for power in powers:
            for normalisation in grid.length_normalisations:
                for bias in grid.biases:
                    changes = {"output_power": power, "length_normalisation": normalisation, "bias": bias}
                    best = _better(best, measured(before.values.model_copy(update=changes)))
        for ridge in ridges:
            best = _better(best, measured(best.values.model_copy(update={"ridge": ridge})))
    return best


def _around(ridges: tuple[float, ...], ridge: float) -> tuple[float, ...]:
    place = ridges.index(ridge)
    return ridges[max(0, place - 1) : place + 2]
