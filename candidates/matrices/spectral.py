"""LED's item vectors in closed form: the weighted user-item matrix is decomposed once, its spectrum shrunk, and read as
an encoder and a decoder.

With X the binary user-item matrix, T_u the items of user u and n_i the users of item i, let R_ui = X_ui T_u^-a n_i^-b
and R ~ U S V^T. The least-squares map from a user's items back to themselves, with a ridge penalty l S_1^2, is
V diag(f) V^T with f_k = S_k^2 / (S_k^2 + l S_1^2). Written as two sets of item vectors,

    input_i = n_i^-b V_i diag(f),    output_j = n_j^c V_j,    score(u, j) = sum_{i in u} input_i . output_j,

it is LED: a (mean) encoder of item vectors and one inner product per item, at LED's serving cost. a keeps long
timelines from deciding alone, b and c say how much popularity weighs on either side. a = b = c = 0 is PureSVD
(Cremonesi, Koren and Turrin 2010) with a ridge, a = b = c = 1/2 the low-pass filter of GF-CF (Shen et al. 2021).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from candidates.errors import CandidatesError
from candidates.matrices.rsvd import randomized_svd, row_blocks

_BLOCK_ROWS = 25_000


@dataclass(frozen=True)
class Weighting:
    """The powers of the module's first formula: a of a user's number of items, b of an item's number of users."""

    user_power: float
    item_power: float


@dataclass(frozen=True)
class Shrinkage:
    """What is chosen after the decomposition, at no cost.

    Attributes:
        ridge: l, relative to the largest squared singular value.
        output_power: c.
        dimension: leading singular vectors kept.
    """

    ridge: float
    output_power: float
    dimension: int


@dataclass(frozen=True)
class Spectrum:
    """A decomposed user-item matrix.

    Attributes:
        weighting: it was weighted by.
        users_of_item: float64 [I], n_i.
        values: float64 [k], descending. vectors: float64 [I, k], the right singular vectors.
    """

    weighting: Weighting
    users_of_item: NDArray[np.float64]
    values: NDArray[np.float64]
    vectors: NDArray[np.float64]

    @property
    def dimension(self) -> int:
        return len(self.values)


def decompose(
    user_items: sparse.csr_array | sparse.csr_matrix,
    weighting: Weighting,
    dimension: int,
    seed: int = 0,
    threads: int = 1,
    oversampling: int = 30,
    power_iterations: int = 3,
) -> Spectrum:
    """The `dimension` leading singular vectors of the weighted matrix, by randomised SVD.

    Args:
        user_items: [users, items] with an entry of 1 for every item a user took.

    Raises:
        CandidatesError: no entry, or a dimension below 1.
    """
    matrix = sparse.csr_array(user_items, dtype=np.float64)
    if not matrix.nnz:
        raise CandidatesError(f"the user-item matrix {matrix.shape} is empty; expected at least one interaction")
    lengths = np.diff(matrix.indptr).astype(np.float64)
    counts = np.bincount(matrix.indices, minlength=matrix.shape[1]).astype(np.float64)
    weights = np.repeat(np.maximum(lengths, 1) ** -weighting.user_power, np.diff(matrix.indptr))
    weights *= np.maximum(counts, 1)[matrix.indices] ** -weighting.item_power
    weighted = sparse.csr_array((weights, matrix.indices, matrix.indptr), shape=matrix.shape)[lengths > 0]
    rows = min(_BLOCK_ROWS, -(-weighted.shape[0] // threads))
    svd = randomized_svd(row_blocks(weighted, rows), dimension, oversampling, power_iterations, seed, threads)
    return Spectrum(weighting, counts, svd.values, svd.right)


def item_vectors(spectrum: Spectrum, shrinkage: Shrinkage) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(input vectors, output vectors), float32 [I, d] each; d is at most the spectrum's dimension.

    Raises:
        CandidatesError: a ridge below 0.
    """
    if shrinkage.ridge < 0:
        raise CandidatesError(f"a ridge must not be negative, found {shrinkage.ridge:g}")
    kept = min(shrinkage.dimension, spectrum.dimension)
    squared = spectrum.values[:kept] ** 2
    penalty = shrinkage.ridge * spectrum.values[0] ** 2
    passed = np.divide(squared, squared + penalty, out=np.zeros(kept), where=squared + penalty > 0)
    users = np.maximum(spectrum.users_of_item, 1)[:, None]
    vectors = spectrum.vectors[:, :kept]
    inputs = users**-spectrum.weighting.item_power * vectors * passed
    return inputs.astype(np.float32), (users**shrinkage.output_power * vectors).astype(np.float32)
