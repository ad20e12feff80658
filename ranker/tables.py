"""Figures of rankers as tables for people."""

from typing import Any

from rich.markup import escape
from rich.table import Table

_RANKERS = (
    "DLRM",
    "DLRM, int8 tables",
    "running ranker",
    "logistic regression",
    "popularity",
    "the sources' own order",
    "constant",
)
_COLUMNS = ("auc", "log_loss", "normalised_entropy", "calibration_error", "ndcg@10", "grouped_auc")


def metrics_table(figures: dict[str, Any], rows: str, origin: str) -> Table:
    """One line per ranker."""
    table = Table(title=f"Rankers on {rows} · {escape(origin)}")
    table.add_column("ranker")
    for name in _COLUMNS:
        table.add_column(name.replace("_", " "), justify="right")
    for name in _RANKERS:
        if name in figures:
            table.add_row(name, *(f"{figures[name][one]:.4f}" if one in figures[name] else "" for one in _COLUMNS))
    return table


def calibration_table(figures: dict[str, Any]) -> Table:
    table = Table(title="Calibration of DLRM: equally many rows per line, by rising prediction")
    for name in ("rows", "predicted", "observed"):
        table.add_column(name, justify="right")
    for part in figures["calibration"]:
        table.add_row(f"{part['rows']:,}", f"{part['predicted']:.4f}", f"{part['observed']:.4f}")
    return table
