"""Group-sequential tests: a few planned looks at a known greatest sample, with more power than looking at any time.

Lan and DeMets ("Discrete sequential boundaries for clinical trials", Biometrika 1983): the error is spent over the
information, and each look's bound is solved for by recursive integration (Armitage, McPherson, Rowe 1969).
"""

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.stats import norm

from gateway.experiment.statistics.moments import LEVEL

Spending = Literal["obrien-fleming", "pocock"]
_GRID = 801
_FARTHEST = 9.0
"""A bound beyond which no test statistic lies: nothing is spent."""


def spent(fraction: float, spending: Spending, alpha: float) -> float:
    """How much of a two-sided error `alpha` is spent when this fraction of the information is there.

    O'Brien-Fleming-like: 4 (1 - Phi(z_{1 - alpha/4} / sqrt t)); Pocock-like: alpha ln(1 + (e - 1) t).
    """
    fraction = min(1.0, fraction)
    if spending == "pocock":
        return alpha * math.log1p((math.e - 1) * fraction)
    return 4 * float(norm.sf(norm.isf(alpha / 4) / math.sqrt(fraction)))


def bounds(
    fractions: Sequence[float], spending: Spending = "obrien-fleming", alpha: float = 1 - LEVEL
) -> tuple[float, ...]:
    """How many standard errors each look's interval needs, so that all of them together err in `alpha` of tests.

    Args:
        fractions: of the planned users at each look, increasing, the last at most 1.

    Raises:
        ValueError: fractions that are not those of looks.
    """
    if not fractions or fractions[0] <= 0 or any(np.diff(fractions) <= 0) or fractions[-1] > 1 + 1e-9:
        raise ValueError(f"fractions {list(fractions)}; expected increasing ones above 0, up to 1")
    found: list[float] = []
    grid: NDArray[np.float64] = np.zeros(1)
    weight: NDArray[np.float64] = np.ones(1)  # of the scores sqrt(t) Z that no look has stopped yet
    before = 0.0
    for number, fraction in enumerate(fractions):
        step = math.sqrt(fraction - (fractions[number - 1] if number else 0.0))
        wanted = spent(fraction, spending, alpha) - before
        scale = math.sqrt(fraction)

        most = _beyond(_FARTHEST * scale, grid, weight, step)
        bound = _FARTHEST
        if wanted > most:
            bound = float(brentq(_excess, 0.0, _FARTHEST, args=(scale, grid, weight, step, wanted)))
        found.append(bound)
        before += _beyond(bound * scale, grid, weight, step)
        next_grid, widths = _simpson(bound * scale)
        density = norm.pdf((next_grid[:, None] - grid) / step) @ weight / step
        grid, weight = next_grid, density * widths
    return tuple(found)


def _beyond(edge: float, grid: NDArray[np.float64], weight: NDArray[np.float64], step: float) -> float:
    """The chance of a score that goes beyond +- edge at this look, and did so at none before."""
    away = norm.sf((edge - grid) / step) + norm.cdf((-edge - grid) / step)
    return float(weight @ away)


def _excess(
    bound: float, scale: float, grid: NDArray[np.float64], weight: NDArray[np.float64], step: float, wanted: float
) -> float:
    return _beyond(bound * scale, grid, weight, step) - wanted


def _simpson(edge: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Points over [-edge, edge] and the weights of Simpson's rule."""
    grid = np.linspace(-edge, edge, _GRID)
    weights = np.full(_GRID, 2.0)
    weights[1::2], weights[0], weights[-1] = 4.0, 1.0, 1.0
    return grid, weights * (grid[1] - grid[0]) / 3
