"""A network that learns from boosted trees and a logistic regression beside the clicks: distillation (Hinton, Vinyals
and Dean 2015, arXiv 1503.02531), with teachers that never saw the row they speak of.

On few rows they and networks err on different rows. The teachers are fitted on all stretches of the log but one and
predict that one, in turn; the network's target on a training row is then (1 - share) y + share p, with y the click and
p the probability by the mean of their logits. Cross entropy is linear in its target, so that this is the weighted sum
of both losses. What is served is the network alone.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from ranker.baselines.logistic import LogisticRanker
from ranker.baselines.trees import TreesConfig, TreesRanker
from ranker.evaluation.calibration import Platt
from ranker.features.examples import Examples, require_rows
from ranker.training.ranker import DlrmRanker

STRETCHES = 5
"""Parts of the log, each predicted by teachers of the others."""

TEACHER = TreesConfig(trees=90, learning_rate=0.1, leaves=24, feature_share=0.3, bins=63)
"""Few trees: a third of the time of the trees that are compared, and as good a teacher (docs/results/ranker.md)."""


class TaughtRanker:
    """A network and its teachers, as one ranker of a comparison."""

    def __init__(self, network: DlrmRanker, share: float) -> None:
        """`share`: of the target that is the teachers'."""
        self._network, self._share = network, share

    @property
    def platt(self) -> Platt:
        return self._network.platt

    def fit(self, train: Examples, validation: Examples, seed: int) -> None:
        self._network.fit(self._taught(train, self._network.rows, seed), validation, seed)

    def refit(self, train: Examples, rows: dict[str, int], seed: int) -> None:
        self._network.refit(self._taught(train, rows, seed), rows, seed)

    def logits(self, examples: Examples) -> NDArray[np.float64]:
        return self._network.logits(examples)

    def _taught(self, train: Examples, rows: dict[str, int], seed: int) -> Examples:
        specification = self._network.specification
        require_rows(specification, rows, train)
        teachers: list[TreesRanker | LogisticRanker] = [
            TreesRanker(specification, rows, TEACHER),
            LogisticRanker(specification, rows),
        ]
        taught = out_of_stretch(teachers, train, rows, seed)
        return replace(train, label=((1 - self._share) * train.label + self._share * taught).astype(np.float32))


def out_of_stretch(
    teachers: Sequence[TreesRanker | LogisticRanker], train: Examples, rows: dict[str, int], seed: int
) -> NDArray[np.float64]:
    """float64 [n]: the teachers' probability of a click on each row, learnt from the other stretches of the log.

    `rows`: of each table.
    """
    stretch = np.arange(len(train)) * STRETCHES // len(train)
    logit = np.empty(len(train))
    for number in range(STRETCHES):
        own = stretch == number
        others, these = train.batch(np.flatnonzero(~own)), train.batch(np.flatnonzero(own))
        for teacher in teachers:
            teacher.refit(others, rows, seed)
        logit[own] = np.mean([teacher.logits(these) for teacher in teachers], axis=0)
    return expit(logit)
