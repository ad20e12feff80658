"""Files of Criteo's layout with made-up rows: to try the tools on any number of rows without anyone's data."""

import gzip
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as csv
from numpy.typing import NDArray

from data.criteo.layout import CATEGORICAL, COLUMNS, DENSE
from data.criteo.vocabulary import scattered
from data.files import replaced_file

_ROWS_AT_A_TIME = 100_000
_ID_COUNTS = np.geomspace(3, 2_000_000, len(CATEGORICAL)).astype(np.int64)
_HEX = np.frombuffer(b"".join(b"%04x" % k for k in range(1 << 16)), np.uint8).reshape(-1, 4)
_BASE_LOGIT = -1.2


def write_made_up(
    path: Path, rows: int, seed: int, packed: bool = False, advance: Callable[[int], None] = lambda rows: None
) -> None:
    """Write `rows` rows, gzipped if `packed`; memory does not depend on their number.

    The 26 features have from 3 to 2,000,000 ids of Zipf-like frequency, as spread as the public files'. Integers grow
    roughly log-normally; a tenth of all fields is missing. A click's log-odds are the sum of a hidden effect of each
    id and integer, so a ranker has something to learn.
    """
    options = csv.WriteOptions(include_header=False, delimiter="\t", quoting_style="none")
    opened = partial(gzip.open, mode="wb", compresslevel=1) if packed else partial(Path.open, mode="wb")
    with replaced_file(path) as beside, opened(beside) as file:
        for first in range(0, rows, _ROWS_AT_A_TIME):
            count = min(_ROWS_AT_A_TIME, rows - first)
            csv.write_csv(_table(count, np.random.default_rng([seed, first])), pa.PythonFile(file, "w"), options)
            advance(count)


def _table(rows: int, random: np.random.Generator) -> pa.Table:
    logit = np.full(rows, _BASE_LOGIT)
    columns: dict[str, pa.Array] = {}
    for name in DENSE:
        values = np.maximum(random.lognormal(1.5, 1.5, rows).astype(np.int64) - 1, -2)
        logit += 0.05 * (np.log1p(np.maximum(values, 0)) - 1.4)
        columns[name] = pa.array(values, mask=random.random(rows) < 0.1)
    for k, name in enumerate(CATEGORICAL):
        # Inverting x -> x^(1/4) spreads the popularity of ids over the whole range with a heavy head.
        rank = (random.random(rows) ** 4 * _ID_COUNTS[k]).astype(np.uint32)
        ids = scattered(rank * np.uint32(len(CATEGORICAL)) + np.uint32(k))
        logit += 0.3 * (scattered(ids) / 2**31 - 1.0)
        columns[name] = pa.array(_texts(ids), mask=random.random(rows) < 0.1)
    label = random.random(rows) < 1 / (1 + np.exp(-logit))
    return pa.table({"label": label.astype(np.int64), **columns}).select(list(COLUMNS))


def _texts(ids: NDArray[np.uint32]) -> NDArray[np.str_]:
    digits = np.concatenate([_HEX[ids >> np.uint32(16)], _HEX[ids & np.uint32(0xFFFF)]], axis=1)
    return np.ascontiguousarray(digits).view("S8").ravel().astype("U8")
