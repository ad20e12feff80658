"""One banner: sources propose, the pool merges, the ranker scores, slots are filled.

runtime (a bundle, loaded) -> assembly (the steps of a banner; pooling merges, similar is a question of one step) ->
worker_threads (steps with deadlines on threads) or inline_path (bounded sources, on the event loop's thread).
"""
