"""New items between two trainings: they get a place in the catalog, vectors (candidates/cold_start), and a new bundle.

Every source extends itself (led/extension, best_of/cbo_extension) -> recall (before and after) -> addition (the bundle
around it, put into service).

Nothing is trained and nothing of the bundle in service is touched: the sources' files are written anew beside it.
"""
