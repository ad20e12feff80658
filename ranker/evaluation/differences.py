"""Differences of two predictions of the same rows, with standard errors over requests."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data.statistics import Mean, standard_error

SURE = 2.0
"""A difference of so many standard errors is not put down to chance."""


@dataclass(frozen=True)
class Difference:
    """One less the other, and its standard error over requests; infinite of fewer than two."""

    mean: float
    se: float

    def __str__(self) -> str:
        return f"{self.mean:+.4f} ± {self.se:.4f}"

    def told(self) -> dict[str, float | None]:
        """For JSON, which has no infinity."""
        return {"mean": self.mean, "se": self.se if np.isfinite(self.se) else None}

    @classmethod
    def of_requests(cls, values: NDArray[np.float64]) -> "Difference":
        """float64 [requests]: the difference of each."""
        count = len(values)
        return cls(float(values.mean()) if count else 0.0, standard_error(values) if count > 1 else np.inf)

    @classmethod
    def of_rows(cls, values: NDArray[np.float64], request: NDArray[np.int64]) -> "Difference":
        """The mean over rows. Rows of a request are not independent of each other."""
        found = Mean.over_groups(values, request)
        return cls(found.value, found.error if found.count > 1 else np.inf)
