"""Stage one's figures as tables for the terminal."""

import math
from collections.abc import Mapping
from typing import Any

from rich.markup import escape
from rich.table import Table

from candidates.evaluation import CUTOFFS
from candidates.led.making import CONTENDERS
from candidates.sources import SOURCES
from data.console import table
from data.workspace import Origin


def with_error(mean: float, error: float, sign: str = "") -> str:
    """A figure with its standard error, which one user alone does not have (NaN)."""
    return f"{mean:{sign}.4f}" + ("" if math.isnan(error) else f" ± {error:.4f}")


def recall_table(recall: Mapping[str, Mapping[str, Any]], asked: str, origin: Origin | None = None) -> Table:
    """Recall@20 and @50 of each source, with standard errors over users."""
    some: Mapping[str, Any] = next(iter(recall.values()), {"users": 0, "requests": 0})
    requests, users = some["requests"], some["users"]
    title = f"recall on {asked}: {requests:,} request{'s' * (requests != 1)} of {users:,} user{'s' * (users != 1)}"
    shown = table(title + of_origin(origin), "source", *(f"recall@{k}" for k in CUTOFFS))
    for name in sorted(recall, key=list(SOURCES).index):
        figures = recall[name]
        shown.add_row(name, *(with_error(figures[f"recall@{k}"], figures[f"recall@{k}_se"]) for k in CUTOFFS))
    return shown


def contenders_table(metrics: Mapping[str, Any]) -> Table:
    """How LED was made in each country, from the metrics of a training: what else was, and what was chosen."""
    columns = ("country", "made", "recall@20", "seconds", "how", "chosen")
    text = [name for name in columns if name not in ("recall@20", "seconds")]
    shown = table("LED by country: recall@20 on validation users", *columns, left=text)
    for country, figures in metrics["sources"].get("led", {}).items():
        for name in sorted(figures["contenders"], key=_place_of):
            one = figures["contenders"][name]
            recall = "no validation users"
            if "validation_recall@20" in one:
                recall = with_error(one["validation_recall@20"], one["validation_recall@20_se"])
            chosen = figures["why"] if name == figures["chosen"] else ""
            shown.add_row(escape(country), name, recall, f"{one['seconds']:.1f}", _how(one), chosen)
    return shown


def _place_of(contender: str) -> tuple[bool, int]:
    """In the order in which they are made; a manifest's are sorted by name."""
    return "," in contender, CONTENDERS.index(contender.partition(",")[0])


def merge_table(metrics: Mapping[str, Any]) -> Table:
    """How the proposals of each set of sources are merged, from the metrics of a training."""
    merge = metrics["merge"]
    title = f"Sources merged: recall of a banner's slots on {merge['requests']:,} validation requests"
    columns = ("sources", "merged by", "recall", "in turns", "less the best alone")
    shown = table(title, *columns, left=columns[:2])
    for names, one in merge["chosen"].items():
        recall, turns, gain = (one[name] for name in ("recall", "in turns", "less the best source"))
        shown.add_row(
            names,
            one["rule"],
            with_error(recall["mean"], recall["se"]),
            with_error(turns["mean"], turns["se"]),
            with_error(gain["mean"], gain["se"], "+"),
        )
    shown.caption = f"on other users: {merged_sentence(merge['recall'])}"
    return shown


def merged_sentence(found: Mapping[str, Any]) -> str:
    """Recall@20 of all sources, merged, beside that of the best of them."""
    if "best" not in found:
        return "recall of all sources, merged, was not measured, for nobody was asked about"
    return (
        f"recall@20 of all sources, merged, {with_error(found['recall@20'], found['recall@20_se'])}; less "
        f"{found['best']}'s {with_error(found['less best'], found['less best_se'], '+')}"
    )


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
