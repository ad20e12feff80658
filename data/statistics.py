"""Means over users or seeds, with their standard errors."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import ArrayLike


def standard_error(values: ArrayLike) -> float:
    """Of the mean of [n] independent values: their standard deviation (n - 1 below) by the root of n; NaN if n < 2."""
    found = np.asarray(values, np.float64)
    return float(found.std(ddof=1) / np.sqrt(len(found))) if len(found) > 1 else float("nan")


@dataclass(frozen=True)
class Mean:
    """A mean of `count` values and its standard error (NaN of fewer than two); `f"{mean:.4f}"` shows both."""

    value: float
    error: float
    count: int

    @classmethod
    def of(cls, values: ArrayLike) -> Self:
        """Of [n] values; NaN of none."""
        found = np.asarray(values, np.float64)
        return cls(float(found.mean()) if len(found) else float("nan"), standard_error(found), len(found))

    @classmethod
    def of_difference(cls, values: ArrayLike, others: ArrayLike) -> Self:
        """Of `values - others`, paired: both [n], of the same users in the same order."""
        return cls.of(np.asarray(values, np.float64) - np.asarray(others, np.float64))

    @classmethod
    def over_groups(cls, values: ArrayLike, group: ArrayLike) -> Self:
        """Of [n] values whose groups, such as users, are independent, and the values of one group are not.

        The mean is a ratio of sums over groups, and so is its error (delta method). `count` is of groups.
        """
        codes = np.unique(group, return_inverse=True)[1]
        totals, sizes = np.bincount(codes, np.asarray(values, np.float64)), np.bincount(codes)
        count, all_values = len(sizes), sizes.sum()
        if count < 2:
            return cls(float(totals.sum() / all_values) if count else float("nan"), float("nan"), count)
        mean = totals.sum() / all_values
        spread = np.sum((totals - mean * sizes) ** 2) * count / (count - 1)
        return cls(float(mean), float(np.sqrt(spread) / all_values), count)

    def __format__(self, form: str) -> str:
        shown = f"{self.value:{form}}"
        return shown if np.isnan(self.error) else f"{shown} ± {self.error:{form.replace('+', '')}}"
