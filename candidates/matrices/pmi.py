"""Pointwise mutual information of items in timelines: the matrix whose left singular vectors are item vectors."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from candidates.errors import CandidatesError


@dataclass(frozen=True)
class ItemTimelines:
    """How many timelines hold each item, float64 [I], and how many there are in all."""

    of_item: NDArray[np.float64]
    total: int


@dataclass(frozen=True)
class Marginals:
    """The logarithms of n_i and of p_a(j) in `positive_pmi`, float64 [I] each; -inf where n_i is 0."""

    log_marginal: NDArray[np.float64]
    log_context: NDArray[np.float64]

    @classmethod
    def of(cls, marginal: NDArray[np.number[Any]], context_power: float) -> "Marginals":
        """From n_i, [I]."""
        context = np.where(marginal > 0, marginal, 1.0) ** context_power * (marginal > 0)
        with np.errstate(divide="ignore", invalid="ignore"):
            return cls(np.log(marginal), np.log(context) - np.log(context.sum()))

    @classmethod
    def of_timelines(cls, timelines: ItemTimelines, context_power: float) -> "Marginals":
        """Those of the paper: n_i is a number of timelines, p(j) = n_j / U, and p_a(j) = p(j)^a is not normalised."""
        with np.errstate(divide="ignore"):
            log_timelines = np.log(timelines.of_item)
        return cls(log_timelines, context_power * (log_timelines - np.log(max(1, timelines.total))))

    def pmi(
        self, row: NDArray[np.integer], column: NDArray[np.integer], counts: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """float64 [n]: PMI_ij of the pairs that occur, counts n_ij > 0."""
        # log(p(i, j) / p(i)) = log(n_ij / n_i): the total N cancels
        return np.log(counts) - self.log_marginal[row] - self.log_context[column]


def positive_pmi(
    cooccurrence: sparse.csr_array, context_power: float = 0.75, timelines: ItemTimelines | None = None
) -> sparse.csr_array:
    """The positive part of the PMI with a smoothed context distribution.

    With n_ij the number of timelines that hold items i and j, n_i = sum_j n_ij and N = sum_i n_i,

        PMI_ij = log( p(i, j) / (p(i) p_a(j)) ),   p(i, j) = n_ij / N,   p(i) = n_i / N,   p_a(j) = n_j^a / sum_k n_k^a.

    smoothed as in Levy, Goldberg and Dagan (2015), section 3.1: p_a sums to 1 over the contexts.

    With `timelines`, as the LED paper defines it (sections 4.1 and 9.3): probabilities are shares of the U timelines,
    p(i, j) = n_ij / U of those that hold both, p(i) = n_i / U of those that hold i, and p_a(j) = p(j)^a as it is. For
    a < 1 this p_a is greater, so that more entries are negative.

    In both forms negative entries are left out, as in the authors' code (the paper does not say), and pairs that never
    met stay zero.

    Args:
        cooccurrence: symmetric, non-negative [I, I]; the diagonal is ignored.
        context_power: a; 1 leaves the contexts as they are, smaller values favour rare contexts less.
        timelines: of the same users; None: the textbook's PMI, of the pairs alone.

    Returns:
        float32 [I, I], only entries above zero are stored. Not symmetric unless a = 1.

    Raises:
        CandidatesError: the matrix is not square or has a negative entry.
    """
    pairs = sparse.coo_array(cooccurrence)
    if pairs.shape[0] != pairs.shape[1]:
        raise CandidatesError(f"co-occurrence must be a square matrix, found shape {pairs.shape}")
    if len(pairs.data) and pairs.data.min() < 0:
        raise CandidatesError(f"co-occurrence counts must not be negative, found {pairs.data.min()}")
    row, column = pairs.coords
    kept = (row != column) & (pairs.data > 0)
    row, column, counts = row[kept], column[kept], pairs.data[kept].astype(np.float64)
    if timelines is None:
        marginals = Marginals.of(np.bincount(row, weights=counts, minlength=pairs.shape[0]), context_power)
    else:
        marginals = Marginals.of_timelines(timelines, context_power)
    values = marginals.pmi(row, column, counts)
    above = values > 0
    return sparse.csr_array(
        (values[above].astype(np.float32), (row[above], column[above])), shape=pairs.shape, dtype=np.float32
    )
