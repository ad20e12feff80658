"""Continuous training: go on from the ranker in service, measure beside it, publish if it is better."""
