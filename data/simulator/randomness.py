"""Randomness that depends on what it is for, never on the order in which it is asked for."""

import numpy as np
import xxhash
from numpy.typing import ArrayLike, NDArray

from data.mixing import GOLDEN, mixed

_ONE = np.uint64(1)
_TO_FRACTION = 2.0**-53


def generator(seed: int, purpose: str, block: int = 0) -> np.random.Generator:
    """A stream of its own for each (seed, purpose, block).

    Philox is keyed by seed and purpose; the block is the highest word of its counter, so blocks never overlap.
    """
    key = np.array([seed, xxhash.xxh3_64_intdigest(purpose.encode())], np.uint64)
    return np.random.Generator(np.random.Philox(key=key, counter=np.array([0, 0, 0, block], np.uint64)))


def stream_key(seed: int, purpose: str) -> np.uint64:
    """The key of a family of `uniforms`."""
    return np.uint64(xxhash.xxh3_64_intdigest(f"{seed}:{purpose}".encode()))


def uniforms(key: np.uint64, *counters: ArrayLike) -> NDArray[np.float64]:
    """A number in (0, 1) for each tuple of counters, by hashing: no state, so any order and any batch agree.

    Each counter is added to the state and mixed by the finaliser of SplitMix64 (Steele, Lea, Flood, "Fast splittable
    pseudorandom number generators", OOPSLA 2014). Counters are non-negative integers that broadcast together.
    """
    state = np.atleast_1d(key)
    for counter in counters:
        state = mixed(state + (np.atleast_1d(counter).astype(np.uint64) + _ONE) * GOLDEN)
    return ((state >> np.uint64(11)).astype(np.float64) + 0.5) * _TO_FRACTION


def standard_normals(one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    """Box and Muller's: one standard normal number from two uniform ones in (0, 1)."""
    return np.sqrt(-2 * np.log(one)) * np.cos(2 * np.pi * other)


def pick(cumulative: NDArray[np.floating], draws: NDArray[np.float64]) -> NDArray[np.intp]:
    """For each row of cumulative weights [n, k], the column that draws [n] in [0, 1) fall into; weights need no norm.

    A column of weight 0 is never picked: the draw is turned round into (0, 1].
    """
    return (cumulative < ((1 - draws) * cumulative[:, -1])[:, None]).sum(axis=1)


def pick_from(
    weights: NDArray[np.floating], rows: NDArray[np.integer], draws: NDArray[np.float64]
) -> NDArray[np.int64]:
    """As `pick`, from row rows[n] of a small table of weights [r, k] that many draws share: memory n, not n * k."""
    cumulative = np.cumsum(weights, axis=1)
    count, columns = cumulative.shape
    # Every row's cumulative share lies in its own unit interval, so that one search serves all rows.
    shares = (cumulative / cumulative[:, -1:] + np.arange(count)[:, None]).ravel()
    return np.clip(np.searchsorted(shares, rows + (1 - draws)) - rows * columns, 0, columns - 1)
