"""Gradient-boosted trees (LightGBM) on the same examples: the yardstick that a network on few rows has to reach."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ranker.evaluation.calibration import Platt, fit_platt
from ranker.features.examples import Examples
from ranker.features.specification import Specification


@dataclass(frozen=True)
class TreesConfig:
    """LightGBM's own names say more; these are the ones worth changing."""

    trees: int = 600
    learning_rate: float = 0.04
    leaves: int = 31
    rows_per_leaf: int = 60
    row_share: float = 0.8
    feature_share: float = 0.4
    l2: float = 5.0
    bins: int = 255
    patience: int = 40
    threads: int = 1


class TreesRanker:
    """Reads the dense features: an id speaks through its out-of-fold log-odds and count, as trees take ids best."""

    name = "gradient-boosted trees"

    def __init__(self, specification: Specification, rows: dict[str, int], config: TreesConfig | None = None) -> None:
        self.config = config or TreesConfig()
        self.platt = Platt()
        self._booster: Any = None
        self._trees = self.config.trees

    def fit(self, train: Examples, validation: Examples, seed: int) -> None:
        """The number of trees is the best on validation."""
        import lightgbm

        held_out = lightgbm.Dataset(validation.dense, validation.label)
        stop = lightgbm.early_stopping(self.config.patience, verbose=False)
        self._booster = lightgbm.train(
            self._parameters(seed),
            lightgbm.Dataset(train.dense, train.label),
            self.config.trees,
            valid_sets=[held_out],
            callbacks=[stop],
        )
        self._trees = self._booster.best_iteration or self.config.trees
        self.platt = fit_platt(self.logits(validation), validation.label)

    def refit(self, train: Examples, rows: dict[str, int], seed: int) -> None:
        """On more rows, with as many trees as validation found best."""
        import lightgbm

        data = lightgbm.Dataset(train.dense, train.label)
        self._booster = lightgbm.train(self._parameters(seed), data, self._trees)

    def logits(self, examples: Examples) -> NDArray[np.float64]:
        """float64 [n], before calibration."""
        return self._booster.predict(examples.dense, num_iteration=self._trees, raw_score=True)

    def _parameters(self, seed: int) -> dict[str, Any]:
        config = self.config
        return {
            "objective": "binary",
            "learning_rate": config.learning_rate,
            "num_leaves": config.leaves,
            "min_child_samples": config.rows_per_leaf,
            "subsample": config.row_share,
            "subsample_freq": 1,
            "colsample_bytree": config.feature_share,
            "reg_lambda": config.l2,
            "max_bin": config.bins,
            "num_threads": config.threads,
            "seed": seed,
            "deterministic": True,
            "verbose": -1,
        }
