"""LED's item vectors in closed form: the weighted user-item matrix is decomposed once, its spectrum shrunk, and read as
an encoder and a decoder.

With X the binary user-item matrix, T_u the items of user u and n_i the users of item i, let R_ui = X_ui T_u^-a n_i^-b
and R ~ U S V^T. The least-squares map from a user's items back to themselves, with a ridge penalty l S_1^2, is
V diag(f) V^T with f_k = S_k^2 / (S_k^2 + l S_1^2). Written as two sets of item vectors,

    input_i = n_i^-b V_i diag(f),    output_j = n_j^c g_j^-e V_j,    score(u, j) = sum_{i in u} input_i . output_j,

it is LED: a (mean) encoder of item vectors and one inner product per item, at LED's serving cost. a keeps long
timelines from deciding alone, b and c say how much popularity weighs on either side. g_j = |V_j diag(f)^1/2| is the
length that the d kept vectors leave to item j. It is short for an item of a kind that the leading vectors do not know,
which could then never win; e = 1 makes all output vectors equally long, e = 0 leaves them. The fewer vectors are kept
of many items, the more e brings. a = b = c = e = 0 is PureSVD (Cremonesi, Koren and Turrin 2010) with a ridge,
a = b = c = 1/2 and e = 0 the low-pass filter of GF-CF (Shen et al. 2021). Under a large ridge f goes with S^2, and
all kept vectors together are weighted co-occurrence counts.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from candidates.config import SpectralValues
from candidates.errors import CandidatesError
from candidates.matrices.subspace import right_singular_vectors

_LARGE = 3_000_000
"""A decomposition of more numbers, (users + items) x vectors, is made in float32: half the memory, half the time.
Ridges and lengths are far above its rounding."""

_SHORTEST = 1e-3
"""Of the mean length: what is shorter is rounding as much as taste, and is not made longer than by this."""


@dataclass(frozen=True)
class Spectrum:
    """A decomposed user-item matrix.

    Attributes:
        user_power, item_power: a and b, it was weighted by.
        users_of_item: float64 [I], n_i.
        values: [k], descending. vectors: [I, k], the right singular vectors; float64, of large matrices float32.
    """

    user_power: float
    item_power: float
    users_of_item: NDArray[np.float64]
    values: NDArray[np.floating]
    vectors: NDArray[np.floating]

    @property
    def dimension(self) -> int:
        return len(self.values)


def decompose(
    user_items: sparse.csr_array | sparse.csr_matrix,
    user_power: float,
    item_power: float,
    dimension: int,
    seed: int = 0,
    threads: int = 1,
    like: Spectrum | None = None,
) -> Spectrum:
    """The `dimension` leading singular vectors of the weighted matrix, by subspace iteration.

    Args:
        user_items: [users, items] with an entry of 1 for every item a user took.
        like: the spectrum of the same matrix otherwise weighted, or of fewer dimensions, to begin with: it saves
            iterations.

    Raises:
        CandidatesError: no entry, or a dimension below 1.
    """
    matrix = sparse.csr_array(user_items, dtype=np.float64)
    if not matrix.nnz:
        raise CandidatesError(f"the user-item matrix {matrix.shape} is empty; expected at least one interaction")
    if dimension < 1:
        raise CandidatesError(f"the dimension of a decomposition must be at least 1, found {dimension}")
    lengths = np.diff(matrix.indptr).astype(np.float64)
    counts = np.bincount(matrix.indices, minlength=matrix.shape[1]).astype(np.float64)
    weights = np.repeat(np.maximum(lengths, 1) ** -user_power, np.diff(matrix.indptr))
    weights *= np.maximum(counts, 1)[matrix.indices] ** -item_power
    weighted = sparse.csr_array((weights, matrix.indices, matrix.indptr), shape=matrix.shape)[lengths > 0]
    if sum(weighted.shape) * dimension > _LARGE:
        weighted = weighted.astype(np.float32)
    start, iterations = None, 4
    if like is not None:
        start, iterations = like.vectors, 2 if like.dimension >= dimension else 3
    values, vectors = right_singular_vectors(
        weighted, dimension, iterations=iterations, seed=seed, threads=threads, start=start
    )
    return Spectrum(user_power, item_power, counts, values, vectors)


def singular_vectors(spectrum: Spectrum, ridge: float, dimension: int) -> NDArray[np.floating]:
    """V diag(f)^1/2, [I, d]."""
    squared = spectrum.values[:dimension] ** 2
    penalty = ridge * spectrum.values[0] ** 2
    passed = np.divide(squared, squared + penalty, out=np.zeros_like(squared), where=squared + penalty > 0)
    found: NDArray[np.floating] = spectrum.vectors[:, :dimension] * np.sqrt(passed)
    return found


def output_scale(spectrum: Spectrum, values: SpectralValues, vectors: NDArray[np.floating]) -> NDArray[np.float64]:
    """n_j^c g_j^-e, float64 [I], from the `singular_vectors` [I, d] of the same ridge and dimension."""
    scale: NDArray[np.float64] = np.maximum(spectrum.users_of_item, 1) ** values.output_power
    if not values.length_normalisation:
        return scale
    lengths = np.linalg.norm(vectors, axis=1).astype(np.float64)
    shortest = max(_SHORTEST * lengths.mean(), np.finfo(float).tiny)
    return scale * np.maximum(lengths, shortest) ** -values.length_normalisation
