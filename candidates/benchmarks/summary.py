"""Rows of several seeds become one line: means over users with standard errors, and differences user by user."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from candidates.benchmarks.benchmark import Result
from candidates.benchmarks.runner import Task, run_tasks
from data.statistics import Mean


@dataclass(frozen=True)
class Line:
    """One model over its seeds.

    Attributes:
        per_user: measure -> float64 [users], each the mean over the seeds.
        by_seed: measure -> float64 [seeds], each the mean over the users.
        coverage: measure -> the mean over the seeds.
        seconds: of training one seed, the mean. epochs: the mean, None for a model without.
    """

    title: str
    per_user: dict[str, NDArray[np.float64]]
    by_seed: dict[str, NDArray[np.float64]]
    coverage: dict[str, float]
    seconds: float
    epochs: float | None

    @classmethod
    def of(cls, title: str, results: Sequence[Result]) -> "Line":
        found = [result.evaluation for result in results]
        values = {name: np.array([one.per_user[name] for one in found]) for name in found[0].per_user}
        epochs = [result.epochs for result in results if result.epochs is not None]
        return cls(
            title,
            {name: several.mean(axis=0) for name, several in values.items()},
            {name: several.mean(axis=1) for name, several in values.items()},
            {name: float(np.mean([one.coverage[name] for one in found])) for name in found[0].coverage},
            float(np.mean([result.training_seconds for result in results])),
            float(np.mean(epochs)) if epochs else None,
        )

    @classmethod
    def of_tasks(
        cls, what: str, tasks: Mapping[str, Sequence[Task]], folder: Path, processes: int
    ) -> "dict[str, tuple[Line, Result]]":
        """Run tasks, by title one for each seed: the titles' lines, and their first seeds' results."""
        rows = iter(run_tasks(what, [task for several in tasks.values() for task in several], folder, processes))
        results = {title: [Result.of_row(next(rows)) for _ in several] for title, several in tasks.items()}
        return {title: (cls.of(title, several), several[0]) for title, several in results.items()}

    def mean(self, name: str) -> Mean:
        """Over users, with its standard error."""
        return Mean.of(self.per_user[name])

    def difference(self, other: "Line", name: str) -> Mean:
        """To another line, user by user: the same users answered both."""
        return Mean.of_difference(self.per_user[name], other.per_user[name])

    def over(self, other: "Line", name: str) -> tuple[float, float]:
        """(relative difference to another line, its standard error), user by user."""
        base, change = other.mean(name).value, self.difference(other, name)
        return (change.value / base, change.error / base) if base else (float("nan"), float("nan"))

    def figures(self) -> dict[str, Any]:
        """For a JSON file."""
        measured = {
            name: {"mean": mean.value, "standard_error": mean.error, "by_seed": self.by_seed[name].tolist()}
            for name, mean in ((name, self.mean(name)) for name in self.per_user)
        }
        users, seeds = (len(next(iter(part.values()))) for part in (self.per_user, self.by_seed))
        return {
            "title": self.title,
            "users": users,
            "seeds": seeds,
            "seconds": self.seconds,
            "epochs": self.epochs,
            **measured,
            **self.coverage,
        }


def short(figure: float, digits: int = 4) -> str:
    """.3606, as these tables are usually written."""
    return f"{figure:.{digits}f}".replace("0.", ".", 1) if abs(figure) < 1 else f"{figure:.{digits}f}"


def measured(line: Line, name: str) -> str:
    """ ".3606 ± .0095"."""
    return with_error(line.mean(name))


def with_error(mean: Mean, sign: str = "") -> str:
    """ ".3606 ± .0095"; with the sign "+" also "+.0020 ± .0010"."""
    plus = sign if mean.value >= 0 else ""
    return f"{plus}{short(mean.value)} ± {short(mean.error)}"


def percent(change: tuple[float, float]) -> str:
    """ "-4.3 % ± 1.1"."""
    return f"{100 * change[0]:+.1f} % ± {100 * change[1]:.1f}"


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; the first column to the left, the others to the right."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)
