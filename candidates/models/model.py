"""What every model of a user-item matrix is: fitted on it, then asked for scores, recommendations, similar items."""

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from candidates.errors import CandidatesError
from candidates.models.checkpoints import CheckpointFile
from candidates.models.ranking import Ranked, rank_blocks
from candidates.models.saving import SavedInFolder
from candidates.models.user_items import checked_matrix
from candidates.protocols.splits import HeldOutUsers
from data.memory import available_memory


class UserItemModel(SavedInFolder):
    """A model of a binary user-item matrix.

    The matrix has one row per user and one column per item; an entry is 1 where the user took the item, and absent
    where they did not (which means unknown, not disliked). It is a scipy csr_matrix of float32. Rows given to `scores`
    and `recommend` need not be users that were fitted on: a row is all the model is told of a user (fold-in).

    A subclass writes `_fit`, `_scores`, `_state` and `_restore`; `_item_vectors` or `_similarity` if it has them.
    """

    stops_early: ClassVar[bool] = False
    """Whether `fit` chooses its best epoch by validation users; without them it runs all its epochs."""

    refits: bool = False
    """Whether a fitted model can be fitted again on more, with what validation has chosen: `refit`."""

    checkpoint: CheckpointFile | None = None
    """Where a model that trains by epochs keeps its checkpoint and goes on from it; None: nowhere."""

    bytes_per_pair: ClassVar[int] = 0
    """Memory that fitting takes per pair of items, for models of dense items x items matrices."""

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
        require_memory(self, items)
        if validation is not None and validation.targets.shape[1] != items:
            found = validation.targets.shape[1]
            raise CandidatesError(f"validation users have {found} items, the matrix {items}; expected the same")
        self._items = None  # until it is fitted: what stops half way leaves nothing to be asked
        self._fit(user_items, validation, show_progress)
        self._items = items
        return self

    def refit(self, user_items: csr_matrix) -> Self:
        """Learn anew from this matrix with the settings that `fit` chose, such as from all that validation had hidden.

        Raises:
            CandidatesError: not fitted yet, a matrix of other items, or a model that cannot.
        """
        if not self.refits or self._items is None:
            raise CandidatesError(f"{self.title} cannot be fitted again; expected a fitted model that refits")
        self._refit(self._of_its_items(user_items))
        return self

    def scores(self, user_items: csr_matrix) -> NDArray[np.float32]:
        """float32 [users, items]: greater is better, of no other meaning; items in the row are scored too.

        Raises:
            CandidatesError: not fitted yet, or a matrix of other items.
        """
        return self._scores(self._of_its_items(user_items))

    def recommend(self, user_items: csr_matrix, k: int, exclude_seen: bool = True) -> Ranked:
        """The k best items of each row, csr [users, items], and their scores.

        Memory is bounded: scores are made of a block of users at a time.

        Args:
            exclude_seen: leave out the items in the user's own row.

        Raises:
            CandidatesError: not fitted yet, a matrix of other items, or k below 1.
        """
        matrix = self._of_its_items(user_items)

        def scores(rows: slice) -> NDArray[np.float32]:
            block = matrix[rows]
            found = np.array(self._scores(block), np.float32)
            if exclude_seen:
                found[block.nonzero()] = -np.inf
            return found

        return rank_blocks(scores, matrix.shape[0], matrix.shape[1], k)

    def similar_items(self, items: Sequence[int] | NDArray[np.integer], k: int) -> Ranked:
        """The k items most similar to each of these columns, without itself: by cosine of the item vectors, or by the
        item-item weights of a model that has those.

        Raises:
            CandidatesError: not fitted yet, no such column, k below 1, or a model without item vectors or weights.
        """
        known, asked = self._fitted(), np.asarray(items)
        if asked.ndim != 1 or (len(asked) and not np.issubdtype(asked.dtype, np.integer)):
            raise CandidatesError(f"items must be columns, whole numbers in one dimension, found {items!r:.80}")
        if len(asked) and not 0 <= asked.min() <= asked.max() < known:
            raise CandidatesError(f"items must be columns from 0 to {known - 1}, found {asked.min()} to {asked.max()}")

        def scores(rows: slice) -> NDArray[np.float32]:
            found = np.array(self._similarity(asked[rows]), np.float32)
            found[np.arange(len(found)), asked[rows]] = -np.inf
            return found

        return rank_blocks(scores, len(asked), known, k)

    @property
    def item_vectors(self) -> NDArray[np.float32]:
        """float32 [items, d]. Raises CandidatesError where the model is not fitted yet, or has none."""
        self._fitted()
        return self._item_vectors()

    def chosen(self) -> dict[str, Any]:
        """Settings that `fit` chose by validation users, by name."""
        return {}

    def _of_its_items(self, user_items: csr_matrix) -> csr_matrix:
        """The matrix, checked, of the items that the model was fitted on."""
        known, matrix = self._fitted(), checked_matrix(user_items)
        if matrix.shape[1] != known:
            raise CandidatesError(f"{self.title} knows {known} items, the matrix has {matrix.shape[1]}")
        return matrix

    @abstractmethod
    def _fit(self, user_items: csr_matrix, validation: HeldOutUsers | None, show_progress: bool) -> None: ...

    def _refit(self, user_items: csr_matrix) -> None:
        raise NotImplementedError

    @abstractmethod
    def _scores(self, user_items: csr_matrix) -> NDArray[np.float32]: ...

    def _item_vectors(self) -> NDArray[np.float32]:
        raise CandidatesError(f"{self.title} has no item vectors; expected a model that learns some (LED, iALS, ELSA)")

    def _similarity(self, items: NDArray[np.integer]) -> NDArray[np.float32]:
        """Float32 [len(items), all items]: the cosine of the vectors; an item without direction is like no other."""
        vectors = self._item_vectors()
        lengths = np.maximum(np.linalg.norm(vectors, axis=1), 1e-30)
        return (vectors[items] / lengths[items, None]) @ vectors.T / lengths


def at_once(models: Iterable[UserItemModel], items: int, processes: int) -> int:
    """How many processes, at most as many as asked for, can fit any of these models at a time; at least one."""
    greatest = max((model.bytes_per_pair * items**2 for model in models), default=0)
    return max(1, min(processes, available_memory() // greatest)) if greatest and processes else processes


def require_memory(model: UserItemModel, items: int) -> None:
    """Raises CandidatesError where fitting so many items needs more memory than can be had."""
    needed, there = model.bytes_per_pair * items**2, available_memory()
    if needed > there:
        raise CandidatesError(
            f"{model.title} compares every item with every other: {items:,} items need {needed / 2**30:,.1f} GiB of "
            f"memory, expected at most the {there / 2**30:,.1f} GiB that are available"
        )
