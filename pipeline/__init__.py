"""Both stages from a workspace's events to a published bundle.

settings (what the workspace keeps) -> training (both stages, or stage one alone with the ranker carried over) ->
publishing (one training at a time, into service). new_items_cli: into the bundle in service, between two trainings.
Above candidates and ranker, below the gateway.
"""
