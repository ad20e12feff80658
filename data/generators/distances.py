"""Stack distances of a trace, for all its accesses at once, and what follows from them: hit rates of LRU caches."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def stack_distances(trace: NDArray[np.integer]) -> NDArray[np.int64]:
    """int64 [n]: how far from the top of the stack of distinct ids, most recently used on top, each access finds its
    id.

    The top is 1; a first access is 0 (the `d` of the paper's Algorithm 1). O(log n) array operations over n accesses.

    The distance is one more than the number of distinct ids accessed since the previous access to the same one. If
    access i has its id's previous access at p(i), those are the accesses in between less those of them whose own
    previous access is in between as well, that is, all j < i with p(j) > p(i):  d(i) = i - p(i) - #{j < i : p(j) >
    p(i)}.
    """
    previous = previous_accesses(trace)
    again = np.flatnonzero(previous >= 0)
    distances = np.zeros(len(trace), np.int64)
    distances[again] = again - previous[again] - greater_before(previous[again])
    return distances


def previous_accesses(trace: NDArray[np.integer]) -> NDArray[np.int64]:
    """int64 [n]: where the id of each access was accessed last before, -1 at its first access."""
    order = np.argsort(trace, kind="stable")
    previous = np.full(len(trace), -1, np.int64)
    same = trace[order[1:]] == trace[order[:-1]]
    previous[order[1:][same]] = order[:-1][same]
    return previous


def greater_before(values: NDArray[np.int64]) -> NDArray[np.int64]:
    """int64 [n]: for each of n distinct numbers of at least 0, how many greater ones stand before it.

    A radix sort by their ranks' bits, highest first, that counts on its way: of two numbers that share all higher bits,
    the one with a 0 here is the smaller, so each 0 counts the 1s before it in its group.
    """
    count = len(values)
    present = np.zeros(int(values.max(initial=-1)) + 1, np.bool_)
    present[values] = True
    rank = (np.cumsum(present) - 1)[values]
    origin, position = np.arange(count), np.arange(count)
    greater = np.zeros(count, np.int64)
    for bit in reversed(range((count - 1).bit_length() if count else 0)):
        one = (rank >> bit) & 1
        group = rank >> (bit + 1) << (bit + 1)  # ranks are 0 .. count - 1: each group begins at its least rank
        ones_before = np.cumsum(one) - one
        ones_before -= ones_before[group]
        zero = one == 0
        greater[origin[zero]] += ones_before[zero]
        place = np.where(zero, position - ones_before, group + (1 << bit) + ones_before)
        rank[place], origin[place] = rank.copy(), origin.copy()
    return greater


def hit_rates(
    distances: NDArray[np.int64], counts: NDArray[np.int64], capacities: Sequence[int]
) -> NDArray[np.float64]:
    """float64 [len(capacities)]: the share of accesses that an LRU cache of each capacity answers.

    `counts` int64 [D] says how many accesses had each of `distances` int64 [D]. A cache of capacity k holds the top k
    of the stack (Mattson et al., 1970), so it answers the accesses of distance 1 .. k.
    """
    total = counts.sum()
    hits = [counts[(distances >= 1) & (distances <= capacity)].sum() for capacity in capacities]
    return np.array(hits, np.float64) / max(total, 1)
