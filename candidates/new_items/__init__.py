"""A catalog that changes between two trainings: items are repriced, retired, return, and new ones get a place.

addition (a catalog file, into the workspace and into service) -> sample (what is known of users) -> refresh (every
source extends itself: led/extension, best_of/cbo_extension; vectors: cold_start) -> recall (before and after).

Nothing is trained and nothing of the bundle in service is touched: the sources' files are written anew beside it.
"""
