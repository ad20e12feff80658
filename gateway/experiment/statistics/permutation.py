"""Could chance have dealt the users so? The permutation test of equal means, by user: no normal approximation.

It holds for sums of few and unequal values, where intervals by the delta method do not: one order of 1e7 lies in one
population in every deal, so that a difference it makes is nothing unusual.
"""

import numpy as np
from numpy.typing import NDArray

PERMUTATIONS = 999
LARGEST_VALUES = 5_000
"""So many of the largest values are dealt one by one; the sum of the others is as good as normal."""


def permutation_p_value(
    treated: NDArray[np.float64], baseline: NDArray[np.float64], permutations: int = PERMUTATIONS, seed: int = 1
) -> float:
    """Two-sided p of equal means, [users] values each: how often a random deal of all users differs as much.

    A deal gives each user to the treated with the probability of its share; with values centred on their common mean,
    that has the variance of a permutation (of N - 1 for N).
    """
    together = np.concatenate([treated, baseline])
    share, centred = len(treated) / len(together), together - together.mean()
    observed = abs(centred[: len(treated)].sum())
    values, counts = np.unique(centred, return_counts=True)
    common = counts > 20  # zeros, ones: a binomial each
    rare = np.repeat(values[~common], counts[~common])
    rare = rare[np.argsort(-np.abs(rare), kind="stable")]
    one_by_one, others = rare[:LARGEST_VALUES], rare[LARGEST_VALUES:]
    random = np.random.default_rng(seed)
    dealt = random.normal(0.0, np.sqrt(share * (1 - share) * (others @ others)), permutations)
    for value, count in zip(values[common], counts[common], strict=True):
        dealt += value * (random.binomial(count, share, permutations) - share * count)
    for start in range(0, permutations, 100):
        some = slice(start, min(start + 100, permutations))
        given = random.random((some.stop - some.start, len(one_by_one))) < share
        dealt[some] += (given - share) @ one_by_one
    return float((1 + np.count_nonzero(np.abs(dealt) >= observed * (1 - 1e-9))) / (permutations + 1))
