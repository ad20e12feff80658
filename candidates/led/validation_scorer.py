"""How good spectral vectors are on validation users, at a cost that lets hundreds of them be tried."""

import numpy as np
from numpy.typing import NDArray

from candidates.matrices.spectral import Shrinkage, Spectrum, input_vectors, output_scale
from candidates.protocols.metrics import Measures
from candidates.protocols.splits import HeldOutUsers

_SCORES = 40_000_000
"""Scores that are computed and kept for one choice: with many items fewer validation users are asked."""

_FEWEST_USERS = 300


class Judge:
    """NDCG@k of vectors on held-out users, the same as `evaluate` measures, from the ranks of the targets alone.

    What a choice changes in the output vectors multiplies all scores of an item by one number. So the product of users
    and items is made once for each ridge and dimension and kept: float32 [users, items].
    """

    def __init__(self, validation: HeldOutUsers, measures: Measures, seed: int) -> None:
        """`measures`: of which the deepest NDCG is taken. `seed`: of the draw of users where there are too many."""
        self.users = _some(validation, seed)
        self._depth = max(measures.ndcg_at)
        self._gains = 1 / np.log2(np.arange(2, self._depth + 2))
        self._ideal = np.cumsum(self._gains)
        self._told = self.users.fold_in.nonzero()
        self._of: tuple[Spectrum, float, int] | None = None

    def quality(self, spectrum: Spectrum, shrinkage: Shrinkage) -> float:
        """Mean over the users."""
        scores = self._products(spectrum, shrinkage) * output_scale(spectrum, shrinkage).astype(np.float32)
        scores[self._told] = -np.inf
        targets = self.users.targets
        found = [
            self._ndcg(row, targets.indices[start:end])
            for row, start, end in zip(scores, targets.indptr, targets.indptr[1:], strict=False)
        ]
        return float(np.mean(found))

    def _ndcg(self, scores: NDArray[np.float32], targets: NDArray[np.integer]) -> float:
        ranks = np.array([rank(scores, target) for target in targets.tolist()])
        return float(self._gains[ranks[ranks < self._depth]].sum() / self._ideal[min(self._depth, len(ranks)) - 1])

    def _products(self, spectrum: Spectrum, shrinkage: Shrinkage) -> NDArray[np.float32]:
        """Every user's inner products with the items' singular vectors."""
        if self._of is None or self._of[0] is not spectrum or self._of[1:] != (shrinkage.ridge, shrinkage.dimension):
            vectors = spectrum.vectors[:, : shrinkage.dimension].astype(np.float32)
            self._kept: NDArray[np.float32] = (self.users.fold_in @ input_vectors(spectrum, shrinkage)) @ vectors.T
            self._of = (spectrum, shrinkage.ridge, shrinkage.dimension)
        return self._kept


def rank(scores: NDArray[np.float32], item: int) -> int:
    """How many items rank above this one; of equal scores the lower column ranks first."""
    score = scores[item]
    return int(np.count_nonzero(scores[:item] >= score) + np.count_nonzero(scores[item + 1 :] > score))


def _some(validation: HeldOutUsers, seed: int) -> HeldOutUsers:
    """As many users, drawn at random, as keep one evaluation short."""
    wanted = max(_FEWEST_USERS, _SCORES // validation.targets.shape[1])
    if len(validation) <= wanted:
        return validation
    rows = np.sort(np.random.default_rng(seed).permutation(len(validation))[:wanted])
    return HeldOutUsers(validation.fold_in[rows], validation.targets[rows])
