"""Stage one's figures as tables for the terminal."""

from collections.abc import Mapping
from typing import Any

from rich.markup import escape
from rich.table import Table

from candidates.evaluation import CUTOFFS
from candidates.sources import SOURCES
from data.workspace import Origin


def recall_table(recall: Mapping[str, Mapping[str, Any]], asked: str, origin: Origin | None = None) -> Table:
    """Recall@20 and @50 of each source, with standard errors over users."""
    some: Mapping[str, Any] = next(iter(recall.values()), {"users": 0, "requests": 0})
    title = f"recall on {asked}: {some['requests']:,} requests of {some['users']:,} users"
    table = Table(title=title + of_origin(origin))
    table.add_column("source")
    for k in CUTOFFS:
        table.add_column(f"recall@{k}", justify="right")
    for name in sorted(recall, key=list(SOURCES).index):
        figures = recall[name]
        table.add_row(name, *(f"{figures[f'recall@{k}']:.4f} ± {figures[f'recall@{k}_se']:.4f}" for k in CUTOFFS))
    return table


def of_origin(origin: Origin | None) -> str:
    """As markup, for a title."""
    if origin is None:
        return ""
    simulated = " · SIMULATED" if origin.simulated and "simulated" not in origin.name.lower() else ""
    return f" · {escape(origin.name)}{simulated}"
