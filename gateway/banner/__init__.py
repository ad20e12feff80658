"""One banner: sources propose, the pool merges, the ranker scores, slots are filled.

runtime (a bundle, loaded) -> assembly (each question as a list of stages) -> proposing, pooling, ranking, filling,
similar (the stages) -> stages (what a stage is, an answer under way) -> running: inline_path (bounded stages, on the
event loop's thread) or worker_threads (with limits).
"""
