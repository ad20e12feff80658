"""Stage one's figures as tables for the terminal."""

from collections.abc import Iterator, Mapping
from typing import Any

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


def proposal_tables(found: Mapping[str, Any], origin: Origin | None = None) -> Iterator[Table]:
    """The user's newest items, and the sources' proposals side by side."""
    newest = Table(title=f"newest items of {found['user'] or 'a new user'}{of_origin(origin)}", show_header=False)
    newest.add_column()
    for title in found["history"][-10:] or ["(no history)"]:
        newest.add_row(title)
    yield newest
    table = Table(title=f"proposals for merchant {found['merchant']}")
    table.add_column("", justify="right")
    for name in found["proposals"]:
        table.add_column(name)
    columns = [[f"{one['title']} ({one['score']:.3g})" for one in rows] for rows in found["proposals"].values()]
    for place in range(max((len(column) for column in columns), default=0)):
        table.add_row(str(place + 1), *(column[place] if place < len(column) else "" for column in columns))
    yield table


def of_origin(origin: Origin | None) -> str:
    if origin is None:
        return ""
    return f" · {origin.name}{' · SIMULATED' if origin.simulated and 'simulated' not in origin.name.lower() else ''}"
