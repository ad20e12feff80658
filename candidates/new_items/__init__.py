"""New items between two trainings: they get a place in the catalog, vectors, and a new bundle version.

growth (the catalog before and after, and where every old position went) -> evidence (who took the new items, and what
else they took) -> placing (vectors, biases and popularity from it, or from the category) -> basis (what every source is
extended with) -> led_extension, cbo_extension (their files with the new items in) -> recall (before and after) ->
addition (the bundle around it, put into service).

Nothing is trained and nothing of the bundle in service is touched: the sources' files are written anew beside it.
"""
