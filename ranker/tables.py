"""Figures of rankers as tables for people."""

from typing import Any

from rich.markup import escape
from rich.table import Table

from data.console import table

_RANKERS = (
    "DLRM",
    "DLRM, sales",
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
    columns = [one for one in _COLUMNS if any(one in figures[name] for name in _RANKERS if name in figures)]
    made = table(f"Rankers on {rows} · {escape(origin)}", "ranker", *(name.replace("_", " ") for name in columns))
    for name in _RANKERS:
        if name in figures:
            made.add_row(name, *(f"{figures[name][one]:.4f}" if one in figures[name] else "" for one in columns))
    return made


def calibration_table(figures: dict[str, Any]) -> Table:
    title = "Calibration of the ranker: equally many rows per line, by rising prediction"
    made = table(title, "rows", "predicted", "observed", left=())
    for part in figures["calibration"]:
        made.add_row(f"{part['rows']:,}", f"{part['predicted']:.4f}", f"{part['observed']:.4f}")
    return made


def guard_table(guard: dict[str, Any]) -> Table:
    """What a ranker was judged by, with the verdict below."""
    found = guard["figures"]
    made = table("Does the ranker help? Later requests, less without it", "measured", "difference", "requests")
    rows = found.get("recall") or {
        name: found[name] for name in ("log_loss", "clicks", "sale_log_loss") if name in found
    }
    for name, one in rows.items():
        requests = found["requests"][name] if "requests" in found else found["displays"]
        error = "" if one["se"] is None else f" ± {one['se']:.4f}"
        made.add_row(escape(name.replace("_", " ")), f"{one['mean']:+.4f}{error}", f"{requests:,}")
    made.caption = escape(f"the ranker {'serves' if guard['serves'] else 'does not serve'}: {guard['why']}")
    return made
