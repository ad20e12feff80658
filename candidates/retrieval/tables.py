"""Proposals, their reasons and similar items as tables for the terminal."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.markup import escape
from rich.table import Table

from candidates.tables import of_origin
from data.console import table
from data.workspace import Origin

_BASES = {
    "behaviour": "by what people took together (cosine of the item vectors)",
    "category": "by category, the most popular first: nobody took the item yet",
    "": "nothing to compare by: nobody took the item, and its category is unknown or holds nothing else",
}


def proposal_tables(found: Mapping[str, Any], origin: Origin | None = None) -> Iterator[Table]:
    """The user's newest items, and the sources' proposals side by side."""
    yield _history_table(found, origin)
    names = list(found["proposals"])
    shown = table(f"proposals for merchant {escape(found['merchant'])}", "", *names, left=names)
    columns = [[_with_score(one, "score") for one in rows] for rows in found["proposals"].values()]
    for place in range(max((len(column) for column in columns), default=0)):
        shown.add_row(str(place + 1), *(column[place] if place < len(column) else "" for column in columns))
    yield shown


def explanation_tables(found: Mapping[str, Any], origin: Origin | None = None) -> Iterator[Table]:
    """The user's newest items; then each item's score, its bias, and the history items that add most to it."""
    yield _history_table(found, origin)
    columns = ("item", "score", "bias", "the history's largest parts", "the rest of it")
    shown = table(
        f"why LED proposes these items of merchant {escape(found['merchant'])}",
        *columns,
        left=(columns[0], columns[3]),
        caption="score = bias (the same for everybody) + what each item of the history adds",
    )
    for one in found["explanations"]:
        if not one["known"]:
            shown.add_row(escape(one["title"]), "", "", "nobody of the country took it: it completes the list", "")
            continue
        parts = "\n".join(_with_score(part, "contribution") for part in one["history"]) or "(no history)"
        figures = (f"{one[name]:+.3f}" for name in ("score", "bias"))
        shown.add_row(escape(one["title"]), *figures, parts, f"{one['others']:+.3f}")
    yield shown


def similar_table(found: Mapping[str, Any], origin: Origin | None = None) -> Table:
    title = escape(f"{found['title']} ({found['item']}), merchant {found['merchant']}")
    names = ("item", "title", "category")
    shown = table(title + of_origin(origin), "", *names, "likeness", left=names, caption=_BASES[found["basis"]])
    for place, one in enumerate(found["similar"]):
        texts = (escape(one[name]) for name in names)
        shown.add_row(str(place + 1), *texts, f"{one['score']:.3f}")
    return shown


def _history_table(found: Mapping[str, Any], origin: Origin | None) -> Table:
    newest: Sequence[str] = found["history"][-10:]
    who = found["user"] or ("somebody with this history" if newest else "a new user")
    shown = table(f"newest items of {escape(who)}{of_origin(origin)}", "")
    for title in newest or ["(no history)"]:
        shown.add_row(escape(title))
    return shown


def _with_score(one: Mapping[str, Any], name: str) -> str:
    return f"{escape(one['title'])} ({one[name]:.3g})"
