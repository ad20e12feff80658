"""Figures of rankers as tables for people."""

from typing import Any

from rich.markup import escape
from rich.table import Table

from data.console import table

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
    made = table(f"Rankers on {rows} · {escape(origin)}", "ranker", *(name.replace("_", " ") for name in _COLUMNS))
    for name in _RANKERS:
        if name in figures:
            made.add_row(name, *(f"{figures[name][one]:.4f}" if one in figures[name] else "" for one in _COLUMNS))
    return made


def calibration_table(figures: dict[str, Any]) -> Table:
    title = "Calibration of DLRM: equally many rows per line, by rising prediction"
    made = table(title, "rows", "predicted", "observed", left=())
    for part in figures["calibration"]:
        made.add_row(f"{part['rows']:,}", f"{part['predicted']:.4f}", f"{part['observed']:.4f}")
    return made
