"""Made-up rows of Criteo's columns, in memory."""

import numpy as np

from data.criteo.rows import NO_ID, CriteoRows


def made_up_rows(count: int, seed: int = 0) -> CriteoRows:
    """Clicks depend on the first integer and on the first id; everything else is noise, some of it missing."""
    rng = np.random.default_rng(seed)
    dense = rng.integers(-2, 100, (count, 13)).astype(np.float32)
    dense[rng.random(dense.shape) < 0.2] = np.nan
    ids = rng.integers(0, 50, (count, 26))
    ids[rng.random(ids.shape) < 0.1] = NO_ID
    logit = np.where(ids[:, 0] % 2 == 0, 1.5, -1.5) + np.nan_to_num(dense[:, 0]) / 50 - 1
    label = (rng.random(count) < 1 / (1 + np.exp(-logit))).astype(np.float32)
    return CriteoRows(label, dense, ids)
