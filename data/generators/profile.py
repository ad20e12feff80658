"""Algorithm 1: what is kept of a trace, its ids in the order of their first accesses and how often each stack distance
occurred."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray

from data.errors import DataError
from data.files import new_folder, write_text_atomically
from data.generators.distances import stack_distances
from data.ids import load_array
from data.settings import Settings, read_json


class _Description(Settings):
    """profiles.json; `rows`: of the embedding table, by feature."""

    format: Literal["tandem-trace-profiles"] = "tandem-trace-profiles"
    format_version: Literal[1] = 1
    origin: str
    rows: dict[str, int]


@dataclass(frozen=True)
class TraceProfile:
    """A trace of one categorical feature, reduced.

    Attributes:
        unique: int64 [U], the distinct ids in the order of their first accesses (the paper's u).
        distances: int64 [D], the stack distances that occurred, ascending; the first is 0, an id's first access.
        counts: int64 [D], how many accesses had each distance; over their sum, the paper's p.
        rows: of the embedding table; every id is below.
    """

    unique: NDArray[np.int64]
    distances: NDArray[np.int64]
    counts: NDArray[np.int64]
    rows: int

    @classmethod
    def of(cls, trace: NDArray[np.integer], rows: int | None = None) -> Self:
        """Profile a trace [n] of ids of at least 0 (Algorithm 1).

        Raises:
            DataError: the trace is empty, or holds an id outside 0 .. rows - 1.
        """
        if trace.ndim != 1 or not len(trace) or trace.dtype.kind not in "iu":
            raise DataError(f"expected a trace of at least one integer id, found {trace.dtype} {trace.shape}")
        rows = int(trace.max()) + 1 if rows is None else rows
        if trace.min() < 0 or trace.max() >= rows:
            raise DataError(f"the trace holds ids from {trace.min()} to {trace.max()}; expected 0 to {rows - 1}")
        found = stack_distances(trace)
        distances, counts = np.unique(found, return_counts=True)
        return cls(trace[found == 0].astype(np.int64), distances, counts.astype(np.int64), rows)

    @property
    def accesses(self) -> int:
        return int(self.counts.sum())

    @property
    def probabilities(self) -> NDArray[np.float64]:
        """float64 [D], the paper's p."""
        return self.counts / self.accesses

    def anonymous(self) -> Self:
        """The same behaviour with ids that say nothing: 0, 1, 2, ... in the order of first accesses."""
        return type(self)(np.arange(len(self.unique)), self.distances, self.counts, len(self.unique))

    def weights(self, least_new: float | None) -> NDArray[np.float64]:
        """float64 [D], proportional to what Algorithm 2 draws distances with.

        With `least_new`, the paper's adjustment: distance 0, a new id, gets at least that probability, and the others
        keep their proportions in what is left.
        """
        weights = self.counts.astype(np.float64)
        if least_new is not None:
            others = weights[1:].sum()
            weights[0] = max(weights[0], least_new / (1 - least_new) * others)
        return weights

    def least_new(self) -> float:
        """The threshold of the adjustment: one in as many accesses as there are ids, as DLRM's own code pads by."""
        return 1 / (len(self.unique) + 1)


def save_profiles(folder: Path, profiles: dict[str, TraceProfile], origin: str) -> None:
    """Write profiles by feature into a new folder. Raises DataError if it exists."""
    described = _Description(origin=origin, rows={name: profile.rows for name, profile in profiles.items()})
    with new_folder(folder) as beside:
        for name, profile in profiles.items():
            for part in ("unique", "distances", "counts"):
                np.save(beside / f"{name}.{part}.npy", getattr(profile, part))
        write_text_atomically(beside / "profiles.json", described.model_dump_json(indent=2) + "\n")


def load_profiles(folder: Path) -> dict[str, TraceProfile]:
    """Profiles by feature, as `save_profiles` wrote them. Raises DataError where there are none, or broken ones."""
    missing = f"{folder} holds no trace profiles: expected profiles.json, which `tandem data profile-trace` writes"
    expected = "what `tandem data profile-trace` writes"
    found = read_json(folder / "profiles.json", _Description, missing=missing, expected=expected)
    return {name: _checked(folder, name, rows) for name, rows in found.rows.items()}


def _checked(folder: Path, name: str, rows: int) -> TraceProfile:
    arrays = [load_array(folder / f"{name}.{part}.npy") for part in ("unique", "distances", "counts")]
    unique, distances, counts = arrays
    sound = (
        all(array.ndim == 1 and array.dtype.kind in "iu" and len(array) for array in arrays)
        and len(distances) == len(counts)
        and distances[0] == 0
        and (np.diff(distances) > 0).all()
        and distances[-1] <= len(unique)
        and counts.min() > 0
        and unique.min() >= 0
        and unique.max() < rows
    )
    if not sound:
        raise DataError(f"{folder}: the arrays of {name} are not a trace profile; profile the trace again")
    return TraceProfile(unique.astype(np.int64), distances.astype(np.int64), counts.astype(np.int64), rows)
