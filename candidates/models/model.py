"""What every model of a user-item matrix is: fitted on it, then asked to score all items for users told of."""

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, issparse

from candidates.errors import CandidatesError
from candidates.models.checkpoints import CheckpointFile
from candidates.protocols.splits import HeldOutUsers
from data.memory import available_memory

GRAM_ROWS = 1024
"""Rows of X^T X that are computed at a time."""


class UserItemModel(ABC):
    """A model of a binary user-item matrix.

    The matrix has one row per user and one column per item; an entry is 1 where the user took the item, and absent
    where they did not (which means unknown, not disliked). It is a scipy csr_matrix of float32. Rows given to `scores`
    need not be users that were fitted on: a row is all the model is told of a user (fold-in).
    """

    title: str
    config: Any  # of each model's own frozen dataclass
    stops_early: ClassVar[bool] = False
    """Whether `fit` chooses its best epoch by validation users; without them it runs all its epochs."""

    refits: ClassVar[bool] = False
    """Whether a fitted model can be fitted again on more, with what validation has chosen: `refit`."""

    checkpoint: CheckpointFile | None = None
    """Where a model that trains by epochs keeps its checkpoint and goes on from it; None: nowhere."""

    bytes_per_pair: ClassVar[int] = 0
    """Memory that fitting takes per pair of items, for models of dense items x items matrices."""

    _items: int | None = None

    def require_memory(self, items: int) -> None:
        """Raises CandidatesError where fitting so many items needs more memory than can be had."""
        needed, there = self.bytes_per_pair * items**2, available_memory()
        if needed > there:
            raise CandidatesError(
                f"{self.title} compares every item with every other: {items:,} items need {needed / 2**30:,.1f} GiB of "
                f"memory, expected at most the {there / 2**30:,.1f} GiB that are available"
            )

    def fit(self, user_items: csr_matrix, validation: HeldOutUsers | None = None, show_progress: bool = True) -> Self:
        """Learn from the matrix, csr [users, items].

        Args:
            validation: users not to be learnt from (or of whom something was hidden), for models that stop early.

        Raises:
            CandidatesError: the matrix is not sparse, not binary, empty or too large, or validation has other items.
        """
        user_items = checked_matrix(user_items)
        if user_items.nnz == 0:
            raise CandidatesError(
                f"the user-item matrix {user_items.shape} is empty; expected at least one interaction"
            )
        items = user_items.shape[1]
        self.require_memory(items)
        if validation is not None and validation.targets.shape[1] != items:
            found = validation.targets.shape[1]
            raise CandidatesError(f"validation users have {found} items, the matrix {items}; expected the same")
        self._items = items
        self._fit(user_items, validation, show_progress)
        return self

    def refit(self, user_items: csr_matrix) -> Self:
        """Learn anew from this matrix with the settings that `fit` chose, such as from all that validation had hidden.

        Raises:
            CandidatesError: not fitted yet, a matrix of other items, or a model that cannot.
        """
        if self._items is None or not self.refits:
            raise CandidatesError(f"{self.title} cannot be fitted again; expected a fitted model that refits")
        matrix = checked_matrix(user_items)
        if matrix.shape[1] != self._items:
            raise CandidatesError(f"{self.title} knows {self._items} items, the matrix has {matrix.shape[1]}")
        self._refit(matrix)
        return self

    def _refit(self, user_items: csr_matrix) -> None:
        raise NotImplementedError

    def scores(self, user_items: csr_matrix) -> NDArray[np.float32]:
        """float32 [users, items]: greater is better, of no other meaning; items in the row are scored too.

        Raises:
            CandidatesError: not fitted yet, or a matrix of other items.
        """
        if self._items is None:
            raise CandidatesError(f"{self.title} is not fitted yet; call fit before scores")
        user_items = checked_matrix(user_items)
        if user_items.shape[1] != self._items:
            raise CandidatesError(
                f"{self.title} knows {self._items} items, the matrix has {user_items.shape[1]}; expected the same"
            )
        return self._scores(user_items)

    @abstractmethod
    def _fit(self, user_items: csr_matrix, validation: HeldOutUsers | None, show_progress: bool) -> None: ...

    @abstractmethod
    def _scores(self, user_items: csr_matrix) -> NDArray[np.float32]: ...


def checked_matrix(user_items: csr_matrix) -> csr_matrix:
    """The matrix as float32 csr with sorted columns and no explicit zeros; the caller's is left as it is.

    Raises:
        CandidatesError: not a sparse matrix, or an entry other than 1.
    """
    if not issparse(user_items) or user_items.ndim != 2:
        raise CandidatesError(
            f"a user-item matrix must be a sparse matrix of two dimensions, found {type(user_items).__name__}"
        )
    matrix = csr_matrix(user_items, dtype=np.float32, copy=True)
    matrix.sum_duplicates()
    matrix.eliminate_zeros()
    if matrix.nnz and not np.array_equal(matrix.data, np.ones_like(matrix.data)):
        other = matrix.data[matrix.data != 1][0]
        raise CandidatesError(f"a user-item matrix must hold 1 for each item a user took, found {other:g}")
    return matrix


def item_gram(user_items: csr_matrix) -> NDArray[np.float32]:
    """X^T X, float32 [items, items]: how many users took both items. Exact up to 2^24 users."""
    items = user_items.shape[1]
    by_item = user_items.T.tocsr()
    gram = np.empty((items, items), np.float32)
    for start in range(0, items, GRAM_ROWS):  # the sparse product of all rows at once would take three times the memory
        gram[start : start + GRAM_ROWS] = (by_item[start : start + GRAM_ROWS] @ user_items).toarray()
    return gram
