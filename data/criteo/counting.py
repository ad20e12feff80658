"""Exact counts of 32-bit ids in bounded memory: sorted runs, spilled to disk when they grow, merged range by range."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data.ids import load_array

Counts = tuple[NDArray[np.uint32], NDArray[np.int64]]
"""Distinct ids, ascending, and how often each was seen."""

_RANGES = 256
_EMPTY: Counts = (np.empty(0, np.uint32), np.empty(0, np.int64))


class IdCounter:
    """Counts ids as they come.

    Memory: about 12 bytes for each of `limit` distinct ids, thrice while two runs merge, and 4 bytes for each of
    `buffer` ids not yet counted. What is beyond lies in `folder` as sorted runs until `merged` has read them.
    """

    def __init__(self, folder: Path, limit: int = 1 << 21, buffer: int = 1 << 20) -> None:
        self._folder, self._limit, self._buffer = folder, limit, buffer
        self._waiting: list[NDArray[np.uint32]] = []
        self._run, self._spilled = _EMPTY, 0

    def add(self, ids: NDArray[np.uint32]) -> None:
        """Count uint32 [n] ids once each."""
        self._waiting.append(ids)
        if sum(map(len, self._waiting)) >= self._buffer:
            self._count_waiting()

    def merged(self, at_least: int) -> Iterator[Counts]:
        """The ids seen `at_least` times, range by range in ascending order. Call once, after the last `add`."""
        self._count_waiting()
        if not self._spilled:
            yield _kept(self._run, at_least)
            return
        self._spill()
        names = [self._folder / f"{k:05d}" for k in range(self._spilled)]
        runs = [(load_array(Path(f"{name}.ids.npy")), load_array(Path(f"{name}.counts.npy"))) for name in names]
        bounds = np.arange(_RANGES + 1, dtype=np.uint64) * np.uint64(2**32 // _RANGES)
        cuts = [np.searchsorted(ids, bounds) for ids, _ in runs]
        for k in range(_RANGES):
            pieces = [slice(cut[k], cut[k + 1]) for cut in cuts]
            parts = [(ids[piece], counts[piece]) for (ids, counts), piece in zip(runs, pieces, strict=True)]
            yield _kept(merge(*parts), at_least)

    def clear(self) -> None:
        """Remove the spilled runs."""
        for file in self._folder.glob("*.npy"):
            file.unlink()

    def _count_waiting(self) -> None:
        if not self._waiting:
            return
        ids, counts = np.unique(np.concatenate(self._waiting), return_counts=True)
        self._waiting = []
        self._run = merge(self._run, (ids, counts))
        if len(self._run[0]) > self._limit:
            self._spill()

    def _spill(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        np.save(self._folder / f"{self._spilled:05d}.ids.npy", self._run[0])
        np.save(self._folder / f"{self._spilled:05d}.counts.npy", self._run[1])
        self._spilled += 1
        self._run = _EMPTY


def merge(*runs: Counts) -> Counts:
    """The counts of sorted runs together; the stable sort finds the runs, so that two cost little more than a copy."""
    ids, counts = np.concatenate([run[0] for run in runs]), np.concatenate([run[1] for run in runs])
    order = np.argsort(ids, kind="stable")
    ids, counts = ids[order], counts[order]
    starts = np.flatnonzero(np.r_[True, ids[1:] != ids[:-1]][: len(ids)])
    return ids[starts], np.add.reduceat(counts, starts) if len(starts) else counts


def _kept(run: Counts, at_least: int) -> Counts:
    enough = run[1] >= at_least
    return run[0][enough], run[1][enough]
