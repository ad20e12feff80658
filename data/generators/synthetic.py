"""Algorithm 2: a made-up trace whose stack distances follow a profile."""

from bisect import bisect_right
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from data.errors import DataError
from data.generators.profile import TraceProfile
from data.generators.recency import RecencyStack


@dataclass(frozen=True)
class Support:
    """Which distances can be drawn while fewer ids have been seen than the longest distance needs, and after.

    Attributes:
        adjusted: the paper's adjustment: a new id has at least probability `least_new`, so that every distance becomes
            possible soon, and none once all ids have been seen. Otherwise drawing a new id then yields the least
            recently used one.
        least_new: None for `profile.least_new()`.
        beyond: what to do about a distance that cannot be reached yet. `redraw`, the paper's way, shrinks the support:
        the
            short distances become oftener until the trace is warm. `new` takes it for a new id, as the original trace
            did when it began, so that short distances keep their share.

    Raises:
        DataError: `least_new` is not a probability below 1.
    """

    adjusted: bool = True
    least_new: float | None = None
    beyond: Literal["redraw", "new"] = "redraw"

    def __post_init__(self) -> None:
        if self.least_new is not None and not 0 <= self.least_new < 1:
            raise DataError(f"least probability of a new id {self.least_new}: expected at least 0 and below 1")

    def weights(self, profile: TraceProfile) -> NDArray[np.float64]:
        """float64 [D]: what the profile's distances are drawn in proportion to."""
        if not self.adjusted:
            return profile.weights(None)
        return profile.weights(profile.least_new() if self.least_new is None else self.least_new)


AS_IN_PAPER = Support()


def synthetic_trace(
    profile: TraceProfile, accesses: int, seed: int, support: Support = AS_IN_PAPER
) -> NDArray[np.int64]:
    """int64 [accesses]: a trace of the profile's ids (Algorithm 2), O(log ids) per access.

    Raises:
        DataError: `accesses` below 0.
    """
    if accesses < 0:
        raise DataError(f"{accesses} accesses: expected at least 0")
    uniform = np.random.default_rng(seed).random(accesses)
    distances = drawn_distances(profile, uniform, support)
    return profile.unique[_ids_at(distances.tolist(), len(profile.unique))]


def drawn_distances(profile: TraceProfile, uniform: NDArray[np.float64], support: Support) -> NDArray[np.int64]:
    """int64 [n]: the distance of each access, from one number in [0, 1) each (line 3 of Algorithm 2).

    The support is 0 .. s, where s ids have been seen so far; adjusted, 1 .. s once s is all of them.
    """
    cumulative = np.cumsum(support.weights(profile))
    drawn = np.empty(len(uniform), np.int64)
    i, seen = _draw_while_support_grows(profile.distances, cumulative, uniform, drawn, support.beyond == "new")
    # From here every distance is possible and draws do not depend on each other, until the ids run out.
    drawn[i:] = profile.distances[_drawn(cumulative, uniform[i:] * cumulative[-1])]
    # If distance 0 is the only one, it stays: the ids go round, the least recently used first.
    if support.adjusted and len(cumulative) > 1 and i < len(uniform):
        seen_after = seen + np.cumsum(drawn[i:] == 0)
        begin = i + int(np.searchsorted(seen_after - (drawn[i:] == 0), len(profile.unique)))
        without_new = cumulative[0] + uniform[begin:] * (cumulative[-1] - cumulative[0])
        drawn[begin:] = profile.distances[_drawn(cumulative, without_new)]
    return drawn


def _draw_while_support_grows(
    distances: NDArray[np.int64],
    cumulative: NDArray[np.float64],
    uniform: NDArray[np.float64],
    drawn: NDArray[np.int64],
    beyond_is_new: bool,
) -> tuple[int, int]:
    """Fill `drawn` one by one until the longest distance can occur. Answers how many were drawn, and the ids seen."""
    values, sums = distances.tolist(), cumulative.tolist()
    seen, reached = 0, 1  # the first `reached` distances are at most `seen`
    for i, number in enumerate(uniform.tolist()):
        if seen >= values[-1]:
            return i, seen
        if beyond_is_new:
            k = bisect_right(sums, number * sums[-1], 0, reached)
            k = k if k < reached else 0
        else:
            k = min(bisect_right(sums, number * sums[reached - 1], 0, reached), reached - 1)
        drawn[i] = values[k]
        if k == 0:
            seen += 1
            reached = bisect_right(values, seen, reached)
    return len(uniform), seen


def _drawn(cumulative: NDArray[np.float64], points: NDArray[np.float64]) -> NDArray[np.int64]:
    return np.minimum(np.searchsorted(cumulative, points, side="right"), len(cumulative) - 1)


def _ids_at(distances: list[int], ids: int) -> NDArray[np.int64]:
    """int64 [n]: which id, by the order of first accesses, each distance leads to (lines 4 to 11 of Algorithm 2)."""
    stack, seen = RecencyStack(), 0
    trace = np.empty(len(distances), np.int64)
    for i, distance in enumerate(distances):
        if distance:
            one = stack.take(distance)
        elif seen < ids:
            one, seen = seen, seen + 1
        else:  # the paper's list is a ring: its front is now the least recently used id
            one = stack.take(ids)
        stack.push(one)
        trace[i] = one
    return trace
