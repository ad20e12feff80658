"""Models measured under the public protocols.

registry (a model by its name and settings) -> benchmark (fit one model, measure it) -> cli.
"""
