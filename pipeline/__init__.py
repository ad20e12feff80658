"""Both stages from a workspace's events to a published bundle.

settings (what the workspace keeps) -> training (both stages, or stage one alone) -> publishing (one training at a time,
brought to the present catalog, into service) with carrying (the ranker to any catalog). catalog_cli: the catalog's
changes into the bundle in service, between two trainings. Above candidates and ranker, below the gateway.
"""
