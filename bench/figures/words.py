"""How figures are written: numbers, standard errors, times, tables, and the caption that says where from."""

from collections.abc import Mapping, Sequence
from typing import Any


def fraction(value: float | None, digits: int = 3) -> str:
    """.123, as recall and AUC are written; nothing for None."""
    if value is None:
        return ""
    text = f"{value:.{digits}f}"
    return text.replace("0.", ".", 1) if text.lstrip("-").startswith("0.") else text


def signed(value: float | None, digits: int = 3) -> str:
    """+.012 or -.012."""
    return "" if value is None else ("-" if value < 0 else "+") + fraction(abs(value), digits)


def error(value: float | None, standard_error: float | None, digits: int = 3) -> str:
    """.123 ± .004."""
    return fraction(value, digits) + ("" if standard_error is None else f" ± {fraction(standard_error, digits)}")


def signed_error(value: float | None, standard_error: float | None, digits: int = 3) -> str:
    """+.012 ± .004."""
    return signed(value, digits) + ("" if standard_error is None else f" ± {fraction(standard_error, digits)}")


def figure(value: float) -> str:
    """Three digits: 1,340 or 0.42."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def percent(value: float | None, digits: int = 1) -> str:
    """12.3 %."""
    return "" if value is None else f"{100 * value:.{digits}f} %"


def signed_percent(value: float | None, digits: int = 1) -> str:
    """+12.3 %."""
    return "" if value is None else f"{100 * value:+.{digits}f} %"


def count(value: float | None) -> str:
    """12,345."""
    return "" if value is None else f"{value:,.0f}"


def milliseconds(microseconds: float | None, digits: int = 1) -> str:
    """2.4 ms, of microseconds."""
    return "" if microseconds is None else f"{microseconds / 1e3:.{digits}f} ms"


def thousands(value: float | None) -> str:
    """71.9k."""
    return "" if value is None else f"{value / 1e3:.1f}k"


def seeds(found: Sequence[int] | int) -> str:
    """1 seed, or 3 seeds averaged."""
    number = found if isinstance(found, int) else len(found)
    return "1 seed" if number == 1 else f"{number} seeds averaged"


def table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A Markdown table; None is an empty cell."""
    lines = [list(columns), ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join("" if cell is None else str(cell) for cell in line) + " |" for line in lines)


def caption(figure: Mapping[str, Any], about: str = "") -> str:
    """Where a figure comes from: commands, commit, date, machine. `about` is a sentence that stands first."""
    made = figure["measured"]
    commands = "; ".join(f"`{command}`" for command in made["commands"]) or "By hand"
    at = f"commit {made['commit']}" if made.get("commit") else "a commit that was not recorded"
    sentence = f"{commands}, measured on {made['date']} at {at}{_machine(made)}."
    note = f" {made['note']}" if made.get("note") else ""
    return f"{about + ' ' if about else ''}{sentence}{note}"


def place(figure: Mapping[str, Any]) -> str:
    """Commit, date and machine in a few words, for a cell of a table."""
    made = figure["measured"]
    return f"; {made['date']}, {made.get('commit')},{_machine(made).removeprefix(' on')}"


def _machine(made: Mapping[str, Any]) -> str:
    machine = made.get("machine") or {}
    if isinstance(machine, str):
        return f" on {machine}"
    parts = [f"{machine['cores']} cores"] if machine.get("cores") else []
    parts += [machine["cpu"]] if machine.get("cpu") else []
    parts += [f"load {machine['load']} at the start"] if machine.get("load") is not None else []
    return f" on {', '.join(parts)}" if parts else ""


FILTERS = {
    "figure": figure,
    "fraction": fraction,
    "signed": signed,
    "error": error,
    "signed_error": signed_error,
    "percent": percent,
    "signed_percent": signed_percent,
    "count": count,
    "ms": milliseconds,
    "k": thousands,
    "seeds": seeds,
}
