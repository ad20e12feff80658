"""The LED paper's tables and figures, each one command.

tasks (one model fitted and measured) -> runner (several at a time, each in a process of its own, finished ones kept)
-> summary (seeds together, means with standard errors) -> table2, figures, table3 (which tasks, which Markdown)
-> plots -> cli.
"""
