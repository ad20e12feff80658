"""What a row of Criteo's text holds, and how a parsed block lies on disk between the passes."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

DENSE = tuple(f"I{k}" for k in range(1, 14))
CATEGORICAL = tuple(f"C{k}" for k in range(1, 27))
COLUMNS = ("label", *DENSE, *CATEGORICAL)

SPLITS = ("train", "validation", "test")
TRAIN, VALIDATION, TEST = range(3)
SplitKind = Literal["day7", "last-file", "chronological", "random"]

MISSING_ROW = 0
UNKNOWN_ROW = 1  # ids seen in training fewer times than the threshold, or never
RESERVED_ROWS = 2

# A parsed block ("spool") is one array uint32 [41, rows], so that one column is one contiguous read: the label; which
# ids are missing (bit k: C<k+1>); 13 float32 seen as uint32, NaN if missing; 26 ids, 0 if missing.
SPOOL_LABEL, SPOOL_MISSING, SPOOL_DENSE, SPOOL_IDS = 0, 1, 2, 2 + len(DENSE)
SPOOL_COLUMNS = SPOOL_IDS + len(CATEGORICAL)


def spooled_ids(spool: NDArray[np.uint32], feature: int) -> tuple[NDArray[np.uint32], NDArray[np.bool_]]:
    """The ids [rows] of one categorical feature (0 .. 25), and where they are missing [rows]."""
    return spool[SPOOL_IDS + feature], (spool[SPOOL_MISSING] >> np.uint32(feature)) & np.uint32(1) == 1


def arrays_of(
    rows: int, numbers: int = len(DENSE), ids: int = len(CATEGORICAL)
) -> dict[str, tuple[tuple[int, ...], type[np.generic]]]:
    """The shape and dtype of the arrays of a split, by name."""
    wide = {"dense": ((rows, numbers), np.float32), "categorical": ((rows, ids), np.int32)}
    return {**wide, "label": ((rows,), np.uint8)}
