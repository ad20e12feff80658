"""The best items of many rows, ranked a block of rows at a time."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from candidates.errors import CandidatesError
from candidates.protocols.metrics import BATCH_BYTES, top_k


class Ranked(NamedTuple):
    """The best items of R rows, best first; of equal scores the lower column first.

    Attributes:
        items: int32 [R, k], columns of the user-item matrix; -1 where a row has fewer than k items to propose.
        scores: float32 [R, k]; -inf there.
    """

    items: NDArray[np.int32]
    scores: NDArray[np.float32]


def rank_blocks(scores: Callable[[slice], NDArray[np.float32]], rows: int, items: int, k: int) -> Ranked:
    """The k best items of each row.

    Args:
        scores: of some rows, float32 [rows, items], its own to change; -inf is never proposed.
        rows, items: how many. Scores are held of as many rows at a time as fit BATCH_BYTES, of one at least.

    Raises:
        CandidatesError: k is not positive, or a score is not a number.
    """
    if k < 1:
        raise CandidatesError(f"k is {k}; expected at least 1 item")
    best = Ranked(np.full((rows, k), -1, np.int32), np.full((rows, k), -np.inf, np.float32))
    size = max(1, BATCH_BYTES // (4 * max(1, items)))
    for start in range(0, rows, size):
        block = slice(start, min(start + size, rows))
        found = scores(block)
        if np.isnan(found).any():
            raise CandidatesError("a model's score is not a number; expected finite scores")
        columns = top_k(found, k)
        values = np.take_along_axis(found, columns, axis=1)
        proposed = values > -np.inf
        best.items[block, : columns.shape[1]][proposed] = columns[proposed]
        best.scores[block, : columns.shape[1]] = values
    return best
