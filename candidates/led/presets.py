"""LED's settings on public data: the paper's, and those of the widest choice of spectral vectors."""

from typing import Any

PAPER: dict[str, Any] = {
    "tuning": "full",
    "start": "random",
    "dimension": 600,
    "bias_scale": 1.0,
    "split": "auto",
    "target_share": 0.2,
    "negatives": 1000,
    "adam": "auto",
    "batch_size": 0,
    "learning_rate": 2e-3,
    "epochs": 150,
    "patience": 10,
}
"""The paper's settings, but for batch size and learning rate, which fit smaller data too, and the biases' start: the
authors begin a random start at zero (`bias_scale` 0). From there negative sampling spends its first fifty epochs on
lowering all scores to the rate of positives among N negatives, and the other losses take half as many epochs again."""

WIDE: dict[str, Any] = {
    "tuning": "spectral",
    "dimension": 1_200,
    "grid": {
        "user_powers": (0.25, 0.4, 0.5),
        "item_powers": (0.25, 0.4, 0.5),
        "output_drops": (-0.1, 0.0, 0.1, 0.2, 0.3, 0.4, 0.5),
        "biases": (0.0,),
        "ridges": (0.00125, 0.0025, 0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12),
        "dimensions": (50, 100, 200, 400),
        "wider": (800, 1_200),
        "first_dimension": 200,
    },
}
"""Spectral vectors chosen among many more than serving tries: nine weights of the matrix, up to 1,200 dimensions."""
