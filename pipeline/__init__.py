"""Both stages from a workspace's events and its log to a published bundle.

training (both stages) and bundling (stage one alone, the ranker carried over) write bundles; new_items puts new items
into the bundle in service between two trainings. Above candidates and ranker, below the gateway.
"""
