"""Which spectral vectors suit a data set: weightings, ridge, popularity and dimension are tried on held-out users."""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from candidates.errors import CandidatesError
from candidates.matrices.spectral import Shrinkage, Spectrum, Weighting

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SpectralGrid:
    """What is tried: powers, ridge and popularity at `first_dimension`, then the dimension and the ridge again, and
    wider vectors where the widest is the best.

    Attributes:
        user_powers, item_powers: every pair of them.
        output_drops: how much smaller than the item power the output power is: more of it favours rarer items.
        ridges: ascending. dimensions: ascending.
        wider: ascending; each is tried as long as the widest before it is the best. The last bounds the serving cost.
    """

    user_powers: tuple[float, ...] = (0.25, 0.4, 0.5)
    item_powers: tuple[float, ...] = (0.25, 0.4, 0.5)
    output_drops: tuple[float, ...] = (-0.1, 0.0, 0.1, 0.2, 0.3)
    ridges: tuple[float, ...] = (0.00125, 0.0025, 0.005, 0.01, 0.02, 0.04, 0.08, 0.16)
    dimensions: tuple[int, ...] = (50, 100, 200, 400)
    wider: tuple[int, ...] = (800, 1_200)
    first_dimension: int = 100

    def __post_init__(self) -> None:
        if not (self.user_powers and self.item_powers and self.output_drops and self.ridges and self.dimensions):
            raise CandidatesError("a grid of spectral vectors needs at least one value of everything it tries")
        if min(self.dimensions) < 1 or self.first_dimension < 1:
            raise CandidatesError(f"dimensions must be at least 1, found {min(*self.dimensions, self.first_dimension)}")

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
    best: Choice | None = None
    for weighting in weightings(grid):
        spectrum = spectrum_of(weighting, grid.first_dimension)
        for shrinkage in _shrinkages(grid, weighting):
            best = _better(best, weighting, shrinkage, quality(spectrum, shrinkage))
        assert best is not None
        advance(f"validation {best.quality:.4f}")
    assert best is not None
    for dimensions in (grid.dimensions, *((one,) for one in grid.wider)):
        spectrum = spectrum_of(best.weighting, max(dimensions))
        best = _best_dimension(best, grid, dimensions, lambda shrinkage: quality(spectrum, shrinkage))  # noqa: B023
        advance(f"validation {best.quality:.4f}")
        if best.shrinkage.dimension != max(dimensions):
            break
    log.info("spectral vectors: %s", best)
    return best


def _best_dimension(
    best: Choice, grid: SpectralGrid, dimensions: tuple[int, ...], quality: Callable[[Shrinkage], float]
) -> Choice:
    """The dimension and, around the best so far, the ridge again."""
    ridges = _around(grid.ridges, best.shrinkage.ridge)
    for dimension in dimensions:
        for ridge in ridges:
            shrinkage = replace(best.shrinkage, ridge=ridge, dimension=dimension)
            best = _better(best, best.weighting, shrinkage, quality(shrinkage))
    return best


def weightings(grid: SpectralGrid) -> list[Weighting]:
    return [Weighting(user, item) for user in grid.user_powers for item in grid.item_powers]


def _shrinkages(grid: SpectralGrid, weighting: Weighting) -> Iterator[Shrinkage]:
    """A cross through the grid's middle would miss little, but every pair costs only one evaluation."""
    for drop in grid.output_drops:
        for ridge in grid.ridges:
            yield Shrinkage(ridge, weighting.item_power - drop, grid.first_dimension)


def _around(ridges: tuple[float, ...], ridge: float) -> tuple[float, ...]:
    place = ridges.index(ridge)
    return ridges[max(0, place - 1) : place + 2]


def _better(best: Choice | None, weighting: Weighting, shrinkage: Shrinkage, quality: float) -> Choice:
    return Choice(weighting, shrinkage, quality) if best is None or quality > best.quality else best
