"""Where items that no training saw stand among a model's items.

catalog_diff (the catalog before and after, and where every old position went) -> evidence (who took the new items, and
what else they took) -> vectors (vectors, biases and popularity from it, or from the category) -> extension (what every
source is extended with).
"""
