"""LED as it is served: one table of item vectors, a scale and a bias per item, and the encoder's length power."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix


@dataclass(frozen=True)
class LedVectors:
    """s(u, j) = <u, v_j> + b_j with u = sum of a_i v_i over the user's T items / T ** length_power (LED paper, 4.2).

    One table serves both sides: an item's output vector is v_i, its input vector a_i v_i. Vectors that gradient descent
    made have a_i = 1; spectral ones weigh popularity differently on either side (`matrices/spectral.py`).

    Attributes:
        vectors: v, float32 [I, d].
        scales: a, float32 [I].
        biases: b, float32 [I]. A user without history is scored by these alone.
    """

    vectors: NDArray[np.float32]
    scales: NDArray[np.float32]
    biases: NDArray[np.float32]
    length_power: float = 1.0

    @property
    def inputs(self) -> NDArray[np.float32]:
        """float32 [I, d]: the input vectors."""
        return self.vectors * self.scales[:, None]

    def users(self, user_items: csr_matrix) -> NDArray[np.float32]:
        """float32 [U, d]: the vectors of users, given their items: binary csr [U, I]."""
        return user_vectors(self.inputs, user_items, self.length_power)

    def scores(self, user_items: csr_matrix) -> NDArray[np.float32]:
        """float32 [U, I]."""
        scores = self.users(user_items) @ self.vectors.T
        scores += self.biases
        return scores

    def with_score_size(self, size: float) -> "LedVectors":
        """All scores multiplied by one number, after which an item's score for a user of that item alone is, in the
        mean, `size`; half of the scales are below 1."""
        length, scale = float((self.vectors**2).sum(axis=1).mean()), float(np.median(self.scales))
        if not (length > 0 and scale > 0):
            return self
        vectors = self.vectors * np.float32(np.sqrt(size / length))
        biases = self.biases * np.float32(size / (length * scale))
        return LedVectors(vectors, self.scales / np.float32(scale), biases, self.length_power)


def user_vectors(inputs: NDArray[np.float32], user_items: csr_matrix, length_power: float) -> NDArray[np.float32]:
    """float32 [U, d]: the sum of input vectors [I, d] over each user's T items / T ** length_power."""
    lengths = np.maximum(np.diff(user_items.indptr), 1).astype(np.float32)
    users: NDArray[np.float32] = (user_items @ inputs) / lengths[:, None] ** np.float32(length_power)
    return users
