"""Estimates from an A/B test whose unit is the user: one module a method.

moments (sums that add, means) -> uplift (relative, one look and always valid), normalised (Fieller); sample_ratio (the
split). What cannot be said yet is a `NotEstimable` with its reason, never NaN.
"""
