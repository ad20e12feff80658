"""Estimates from an A/B test whose unit is the user: one module a method.

moments (sums that add, means) -> uplift (relative, one look and always valid), normalised (Fieller); sample_ratio (the
split). What cannot be said yet is a `NotEstimable` with its reason, never NaN.
"""

from gateway.experiment.statistics.moments import LEVEL, Mean, NotEstimable, RatioMoments, mean_with_interval
from gateway.experiment.statistics.normalised import NormalisedUplift, fieller_holds, normalised_uplift
from gateway.experiment.statistics.sample_ratio import (
    LEAST_EXPECTED_USERS,
    SAMPLE_RATIO_ALARM,
    SampleRatio,
    sample_ratio,
)
from gateway.experiment.statistics.uplift import (
    DEFAULT_METHOD,
    TUNED_FOR_USERS,
    Method,
    Uplift,
    always_valid_factor,
    relative_uplift,
)

__all__ = [
    "DEFAULT_METHOD",
    "LEAST_EXPECTED_USERS",
    "LEVEL",
    "SAMPLE_RATIO_ALARM",
    "TUNED_FOR_USERS",
    "Mean",
    "Method",
    "NormalisedUplift",
    "NotEstimable",
    "RatioMoments",
    "SampleRatio",
    "Uplift",
    "always_valid_factor",
    "fieller_holds",
    "mean_with_interval",
    "normalised_uplift",
    "relative_uplift",
    "sample_ratio",
]
