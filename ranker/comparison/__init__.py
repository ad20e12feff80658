"""Rankers on plain rows of a click log (Criteo), compared on later rows.

Rows become examples (`preparation`: log transform, buckets, vocabularies, out-of-fold target statistics, all learnt
from training rows), every model is fitted on the same ones (`models`), and measured (`comparison`).
"""
