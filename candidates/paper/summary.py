"""Rows of several seeds become one line: means over users with standard errors, and differences user by user."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Line:
    """One model over its seeds.

    Attributes:
        per_user: measure -> float64 [users], each the mean over the seeds.
        by_seed: measure -> float64 [seeds], each the mean over the users.
        seconds: of training one seed, the mean. epochs: the mean, None for a model without.
    """

    title: str
    per_user: dict[str, NDArray[np.float64]]
    by_seed: dict[str, NDArray[np.float64]]
    seconds: float
    epochs: float | None

    @classmethod
    def of(cls, title: str, rows: Sequence[dict[str, Any]]) -> "Line":
        measures = list(rows[0]["per_user"])
        values = {name: np.array([row["per_user"][name] for row in rows], np.float64) for name in measures}
        epochs = [row["epochs"] for row in rows if row["epochs"] is not None]
        return cls(
            title,
            {name: found.mean(axis=0) for name, found in values.items()},
            {name: found.mean(axis=1) for name, found in values.items()},
            float(np.mean([row["training_seconds"] for row in rows])),
            float(np.mean(epochs)) if epochs else None,
        )

    def mean(self, name: str) -> float:
        return float(self.per_user[name].mean())

    def error(self, name: str) -> float:
        """The standard error of the mean over users; NaN for one user."""
        values = self.per_user[name]
        return float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else float("nan")

    def over(self, other: "Line", name: str) -> tuple[float, float]:
        """(relative difference to another line, its standard error), user by user: the same users answered both."""
        base = other.mean(name)
        if base == 0:
            return float("nan"), float("nan")
        change = self.per_user[name] - other.per_user[name]
        error = change.std(ddof=1) / np.sqrt(len(change)) if len(change) > 1 else float("nan")
        return float(change.mean() / base), float(error / base)

    def figures(self) -> dict[str, Any]:
        """For a JSON file."""
        measured = {
            name: {"mean": self.mean(name), "standard_error": self.error(name), "by_seed": self.by_seed[name].tolist()}
            for name in self.per_user
        }
        users, seeds = (len(next(iter(part.values()))) for part in (self.per_user, self.by_seed))
        return {
            "title": self.title,
            "users": users,
            "seeds": seeds,
            "seconds": self.seconds,
            "epochs": self.epochs,
        } | measured


def short(figure: float, digits: int = 4) -> str:
    """.3606, as these tables are usually written."""
    return f"{figure:.{digits}f}".replace("0.", ".", 1) if abs(figure) < 1 else f"{figure:.{digits}f}"


def measured(line: Line, name: str) -> str:
    """ ".3606 ± .0095"."""
    return f"{short(line.mean(name))} ± {short(line.error(name))}"


def percent(change: tuple[float, float]) -> str:
    """ "-4.3 % ± 1.1"."""
    return f"{100 * change[0]:+.1f} % ± {100 * change[1]:.1f}"


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; the first column to the left, the others to the right."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)
