"""Markdown tables."""

from collections.abc import Sequence


def cell(text: str) -> str:
    """On one line, with the bars that would end a cell escaped."""
    return " ".join(text.split()).replace("|", "\\|")


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table; every cell a line."""
    return "\n".join("| " + " | ".join(line) + " |" for line in [columns, ["---"] * len(columns), *rows])
