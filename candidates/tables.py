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


def contenders_table(metrics: Mapping[str, Any]) -> Table:
    """How LED was made in each country, from the metrics of a training: what else was, and what was chosen."""
    table = Table(title="LED by country: recall@20 on validation users")
    for column in ("country", "made", "recall@20", "seconds", "how", "chosen"):
        table.add_column(column, justify="right" if column in ("recall@20", "seconds") else "left")
    for country, figures in metrics["sources"].get("led", {}).items():
        for name, one in figures["contenders"].items():
            recall = "no validation users"
            if "validation_recall@20" in one:
                recall = f"{one['validation_recall@20']:.4f} ± {one['validation_recall@20_se']:.4f}"
            chosen = figures["why"] if name == figures["chosen"] else ""
            table.add_row(escape(country), name, recall, f"{one['seconds']:.1f}", _how(one), chosen)
    return table


def _how(contender: Mapping[str, Any]) -> str:
    """The epochs of a training, or the values of spectral vectors, shortly."""
    if "epochs" in contender:
        return f"epoch {contender['best_epoch']} of {contender['epochs']}"
    values = contender["values"]
    return (
        f"a {values['user_power']:g}, b {values['item_power']:g}, c {values['output_power']:.3g}, "
        f"l {values['ridge']:g}, e {values['length_normalisation']:g}, bias {values['bias']:g}, d {values['dimension']}"
    )


def of_origin(origin: Origin | None) -> str:
    """As markup, for a title."""
    if origin is None:
        return ""
    simulated = " · SIMULATED" if origin.simulated and "simulated" not in origin.name.lower() else ""
    return f" · {escape(origin.name)}{simulated}"
