"""Models measured under the public protocols.

registry (a model by its name and settings), datasets (a public data set and its split) -> benchmark (fit one, measure
it) -> tasks (a row, with a key of all it depends on) -> runner (finished rows are kept) -> tuning (settings chosen
by validation users), summary (seeds together, differences) -> comparison (several models, row by row) -> cli.
"""
