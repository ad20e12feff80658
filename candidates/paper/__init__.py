"""The LED paper's tables and figures, each one command.

table2, figures, table3 (which tasks, which Markdown) -> plots -> cli. Tasks run and are kept as benchmarks' are.
"""
