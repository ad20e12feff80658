"""Numbers of a click log as features: as they are, as logarithms, or cut into buckets that have embeddings."""

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from data.criteo.dataset import log_transformed
from data.criteo.rows import NO_ID
from ranker.errors import RankerError
from ranker.features.specification import MISSING_ROW, RESERVED_ROWS

NumberUse = Literal["log", "raw", "buckets", "both"]
"""What becomes of a number: log(1 + x); x; an embedding of its bucket; log(1 + x) and such an embedding."""

NumberUses = NumberUse | dict[str, NumberUse]
"""Of every number alike, or by name; the others then stay as they are by default."""

BUCKETS = 512
"""Of a table of buckets: enough for any 32-bit integer; larger ones share the last."""

_NEGATIVE = 0
_SMALL = 3


def uses_of(names: Sequence[str], asked: NumberUses, default: NumberUse) -> dict[str, NumberUse]:
    """What becomes of each number, in the order of `names`.

    Raises:
        RankerError: a number that does not exist, or none that stays a number.
    """
    if isinstance(asked, Mapping):
        wrong = next((name for name in asked if name not in names), None)
        if wrong is not None:
            raise RankerError(f"integers: there is no number {wrong!r}; expected some of {', '.join(names)}")
    found: dict[str, NumberUse] = {
        name: asked.get(name, default) if isinstance(asked, Mapping) else asked for name in names
    }
    if all(use == "buckets" for use in found.values()):
        raise RankerError(
            "integers: all are buckets alone, which leaves nothing for the bottom MLP to read; expected log, raw or "
            "both for one of them at least"
        )
    return found


def dense_values(numbers: NDArray[np.float32], uses: Sequence[NumberUse]) -> NDArray[np.float32]:
    """float32 [n, those that stay numbers] from numbers [n, D], NaN where missing, which counts as 0.

    `uses`: of each column. A logarithm takes negative numbers for 0.
    """
    kept = [k for k, use in enumerate(uses) if use != "buckets"]
    if all(uses[k] != "raw" for k in kept):
        return log_transformed(numbers if len(kept) == len(uses) else numbers[:, kept])
    found = np.nan_to_num(numbers[:, kept], nan=0.0)
    logarithms = [place for place, k in enumerate(kept) if uses[k] != "raw"]
    found[:, logarithms] = log_transformed(found[:, logarithms])
    return found


def logarithmic_buckets(dense: NDArray[np.float32]) -> NDArray[np.int64]:
    """int64 [n, D]: 0 below zero, x + 1 for x = 0, 1, 2, floor(log(x)^2) + 4 above; NO_ID where missing.

    The rule of the Criteo display challenge's winners (Juan et al. 2014), also used by the BARS benchmark.
    """
    found = np.nan_to_num(dense, nan=0.0).astype(np.float64)
    large = np.floor(np.log(np.maximum(found, _SMALL)) ** 2) + 4
    small = np.where(found < 0, _NEGATIVE, np.floor(np.maximum(found, 0)) + 1)
    return np.where(np.isnan(dense), NO_ID, np.where(found < _SMALL, small, large)).astype(np.int64)


def bucket_rows(dense: NDArray[np.float32]) -> NDArray[np.int32]:
    """int32 [n, D]: the row of each number's bucket in a table of RESERVED_ROWS + BUCKETS rows."""
    buckets = logarithmic_buckets(dense)
    rows = RESERVED_ROWS + np.minimum(buckets, BUCKETS - 1)
    return np.where(buckets == NO_ID, MISSING_ROW, rows).astype(np.int32)
