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

    The weights in the middle of the grid are tried with everything; then every other user power, and every other item
    power beside the best user power, each from what was best so far; then the dimensions, near the best.

    Args:
        spectrum_of: the decomposition by user power, item power and dimension, without what `quality` asks for.
        quality: of the vectors on validation users; greater is better.
        advance: called after every decomposition, with a note on the best so far.
    """
    user_power, item_power = _middle(grid.user_powers), _middle(grid.item_powers)
    start = SpectralValues(
        user_power=user_power,
        item_power=item_power,
        ridge=grid.middle_ridge,
        output_power=item_power - grid.output_drops[0],
        dimension=grid.first_dimension,
    )
    spectrum = spectrum_of(user_power, item_power, grid.first_dimension)
    best = _climb(grid, start, grid.output_drops, grid.ridges[::2], spectrum, quality)
    advance(f"validation {best.quality:.4f}")
    for name, powers in (("user_power", grid.user_powers), ("item_power", grid.item_powers)):
        for power in powers:
            if power != _middle(powers):
                begin = best.values.changed(**{name: power})
                begin = begin.changed(output_power=begin.item_power - _drop(grid, best.values))
                spectrum = spectrum_of(begin.user_power, begin.item_power, grid.first_dimension)
                ridges = sorted({*grid.ridges[::2], begin.ridge})
                best = _better(best, _climb(grid, begin, grid.output_drops, ridges, spectrum, quality))
                advance(f"validation {best.quality:.4f}")
    for dimensions in (grid.dimensions, *((one,) for one in grid.wider)):
        values, spectrum = best.values, best.spectrum
        if max(dimensions) > grid.first_dimension:
            spectrum = spectrum_of(values.user_power, values.item_power, max(dimensions))
        for dimension in dimensions:
            best = _better(best, _climb_near(grid, values.changed(dimension=dimension), spectrum, quality))
        advance(f"validation {best.quality:.4f}")
        if best.values.dimension != max(dimensions):
            break
    logger.info("spectral vectors: %s", best.values)
    return best


def weightings(grid: SpectralGrid) -> int:
    """How many weights of the matrix are tried."""
    return len(grid.user_powers) + len(grid.item_powers) - 1


def _middle(values: Sequence[float]) -> float:
    return values[len(values) // 2]


def _drop(grid: SpectralGrid, values: SpectralValues) -> float:
    return min(grid.output_drops, key=lambda drop: abs(values.item_power - values.output_power - drop))


def _better(best: Choice | None, other: Choice) -> Choice:
    return other if best is None or other.quality > best.quality else best


def _climb(
    grid: SpectralGrid,
    start: SpectralValues,
    drops: Sequence[float],
    ridges: Sequence[float],
    spectrum: Spectrum,
    quality: Callable[[Spectrum, SpectralValues], float],
) -> Choice:
    """From `start` every output vector with every bias and then every ridge, until neither finds a better one.

    Output vectors and biases come first and together: popularity and lengths make up for each other.
    """
    powers = [start.item_power - drop for drop in drops]

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


def _climb_near(
    grid: SpectralGrid,
    start: SpectralValues,
    spectrum: Spectrum,
    quality: Callable[[Spectrum, SpectralValues], float],
) -> Choice:
    """`_climb` among the grid's neighbours of `start`."""
    drops = _around(sorted(grid.output_drops), _drop(grid, start))
    return _climb(grid, start, drops, _around(grid.ridges, start.ridge), spectrum, quality)


def _around(values: Sequence[float], one: float) -> Sequence[float]:
    place = values.index(one)
    return values[max(0, place - 1) : place + 2]
