"""Which spectral vectors suit a data set: weightings, ridge, popularity and dimension are tried on held-out users."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from candidates.errors import CandidatesError
from candidates.matrices.spectral import Shrinkage, Spectrum, Weighting

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SpectralGrid:
    """What is tried: powers, popularity, evening and every second ridge at `first_dimension`, then the dimension and
    around it all but the powers again, and wider vectors where the widest is the best.

    Attributes:
        user_powers, item_powers: every pair of them.
        output_drops: how much smaller than the item power the output power is: more of it favours rarer items.
        evenings: ascending; of how long output vectors are left.
        ridges: ascending; the last ones leave little but co-occurrence counts, which suits users of few items.
        dimensions: ascending.
        wider: ascending; each is tried as long as the widest before it is the best. The last bounds the serving cost.
    """

    user_powers: tuple[float, ...] = (0.25, 0.4, 0.5)
    item_powers: tuple[float, ...] = (0.25, 0.4, 0.5)
    output_drops: tuple[float, ...] = (-0.1, 0.0, 0.1, 0.2, 0.3, 0.4, 0.5)
    evenings: tuple[float, ...] = (0.0, 0.5, 1.0)
    ridges: tuple[float, ...] = (0.00125, 0.0025, 0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12)
    dimensions: tuple[int, ...] = (50, 100, 200, 400)
    wider: tuple[int, ...] = (800, 1_200)
    first_dimension: int = 200

    def __post_init__(self) -> None:
        tried = (self.user_powers, self.item_powers, self.output_drops, self.evenings, self.ridges, self.dimensions)
        if not all(tried):
            raise CandidatesError("a grid of spectral vectors needs at least one value of everything it tries")
        if min(self.dimensions) < 1 or self.first_dimension < 1:
            raise CandidatesError(f"dimensions must be at least 1, found {min(*self.dimensions, self.first_dimension)}")

    @property
    def middle_ridge(self) -> float:
        return self.ridges[::2][len(self.ridges[::2]) // 2]

    def within(self, dimension: int) -> "SpectralGrid":
        """The same grid with no vectors of more than `dimension`."""
        dimensions = tuple(one for one in self.dimensions if one <= dimension) or (dimension,)
        wider = tuple(one for one in self.wider if one < dimension)
        if dimension not in dimensions:
            wider = (*wider, dimension)
        first = min(self.first_dimension, dimension)
        return replace(self, dimensions=dimensions, wider=wider, first_dimension=first)


@dataclass(frozen=True)
class Choice:
    """The best of a grid, and what it measured."""

    weighting: Weighting
    shrinkage: Shrinkage
    quality: float


def choose(
    grid: SpectralGrid,
    spectrum_of: Callable[[Weighting, int], Spectrum],
    quality: Callable[[Spectrum, Shrinkage], float],
    advance: Callable[[str], None] = lambda note: None,
) -> Choice:
    """The choice of best quality; of equals the first tried.

    Args:
        spectrum_of: the decomposition of a weighting to some dimension, fitted without what `quality` asks for.
        quality: of the vectors on held-out users; greater is better.
        advance: called after every weighting and once at the end, with a note on the best so far.
    """
    tried: list[Choice] = []
    for weighting in weightings(grid):
        spectrum = spectrum_of(weighting, grid.first_dimension)
        start = Shrinkage(grid.middle_ridge, weighting.item_power - grid.output_drops[0], grid.first_dimension)
        tried.append(_climb(grid, weighting, start, grid.ridges[::2], partial(quality, spectrum)))
        advance(f"validation {best_of(tried).quality:.4f}")
    for dimensions in (grid.dimensions, *((one,) for one in grid.wider)):
        weighting, start = best_of(tried).weighting, best_of(tried).shrinkage
        spectrum, ridges = spectrum_of(weighting, max(dimensions)), _around(grid.ridges, start.ridge)
        for dimension in dimensions:
            begin = replace(start, dimension=dimension)
            tried.append(_climb(grid, weighting, begin, ridges, partial(quality, spectrum)))
        advance(f"validation {best_of(tried).quality:.4f}")
        if best_of(tried).shrinkage.dimension != max(dimensions):
            break
    log.info("spectral vectors: %s", best_of(tried))
    return best_of(tried)


def weightings(grid: SpectralGrid) -> list[Weighting]:
    return [Weighting(user, item) for user in grid.user_powers for item in grid.item_powers]


def best_of(tried: Sequence[Choice]) -> Choice:
    """Of equals the first."""
    return max(tried, key=lambda one: one.quality)


def _climb(
    grid: SpectralGrid,
    weighting: Weighting,
    start: Shrinkage,
    ridges: Sequence[float],
    quality: Callable[[Shrinkage], float],
) -> Choice:
    """From `start` every output vector and then every ridge, in turn, until neither finds a better one.

    The output vectors come first and together: their popularity and their lengths make up for each other.
    """
    powers = [weighting.item_power - drop for drop in grid.output_drops]
    best, before = Choice(weighting, start, quality(start)), None
    while best is not before:
        before = best
        outputs = [
            replace(best.shrinkage, output_power=power, evening=one) for power in powers for one in grid.evenings
        ]
        best = _improved(best, outputs, quality)
        best = _improved(best, [replace(best.shrinkage, ridge=ridge) for ridge in ridges], quality)
    return best


def _improved(best: Choice, others: Sequence[Shrinkage], quality: Callable[[Shrinkage], float]) -> Choice:
    measured = [Choice(best.weighting, other, quality(other)) for other in others if other != best.shrinkage]
    return best_of([best, *measured])


def _around(ridges: tuple[float, ...], ridge: float) -> tuple[float, ...]:
    place = ridges.index(ridge)
    return ridges[max(0, place - 1) : place + 2]
