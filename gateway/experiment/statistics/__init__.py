"""Estimates from an A/B test whose unit is the user: one module a method.

moments (sums that add, means) -> uplift (relative, absolute; one look and always valid), normalised (Fieller) ->
winsorisation, permutation -> tails (does it rest on one user?); cuped (less noise), multiple (several at once), power
(how long?), sample_ratio (the split). What cannot be said yet is a `NotEstimable` with its reason, never NaN.
"""
