"""Settings chosen on validation users, as LED's are: each model's grid, one setting after the other.

Every trial is a task of its own: it is kept, and many run at a time.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from candidates.benchmarks.benchmark import Result
from candidates.benchmarks.registry import MODELS, build_model
from candidates.benchmarks.runner import run_tasks
from candidates.benchmarks.tasks import ModelTask
from candidates.protocols.metrics import VALIDATION_NAME


@dataclass(frozen=True)
class Trial:
    """Settings that were tried: `quality` is their mean NDCG@100 on validation users, `seconds` of one fit."""

    chosen: Mapping[str, Any]
    quality: float
    seconds: float


@dataclass(frozen=True)
class Tuned:
    """The settings of a model.

    Attributes:
        settings: all that differ from the defaults.
        chosen: those that validation chose; empty where nothing was tried.
        given: settings of the model's grid that the user set, so that they were not tried.
    """

    settings: Mapping[str, Any]
    chosen: Mapping[str, Any]
    given: Mapping[str, Any]
    trials: Sequence[Trial] = ()

    def words(self, result: Result) -> str:
        """For the result's row: what was chosen, what was given, or that nothing was tuned."""
        chosen = self.chosen or result.chosen
        found = [f"{word} {_named(part)}" for word, part in (("tuned:", chosen), ("given:", self.given)) if part]
        if not result.settings:
            return "none"
        return "; ".join(found) or "not tuned"

    def figures(self) -> dict[str, Any]:
        """For a JSON file."""
        return {
            "tuned": dict(self.chosen),
            "given": dict(self.given),
            "trials": [{**trial.chosen, VALIDATION_NAME: trial.quality} for trial in self.trials],
            "tuning_seconds": round(sum(trial.seconds for trial in self.trials), 2),
        }


def untuned(task: ModelTask) -> Tuned:
    settings, grid = dict(task.settings), MODELS[task.model].grid
    return Tuned(settings, {}, {name: value for name, value in settings.items() if name in grid})


def tune(tasks: Mapping[str, ModelTask], folder: Path, processes: int) -> dict[str, Tuned]:
    """The settings of each task's model, by the tasks' names.

    First every value of a model's first setting is tried beside the defaults of the others, then of the second beside
    the best of the first, and so on; at last values between the first setting's best and its neighbours. Settings that
    a task has already stay. All models' trials of one round run together.
    """
    searches = {name: _Search.of(task) for name, task in tasks.items()}
    for round_ in range(max((len(search.grid) + 1 for search in searches.values()), default=0)):
        asked = [(search, chosen) for search in searches.values() for chosen in search.of_round(round_)]
        what = f"tuning, round {round_ + 1}"
        rows = run_tasks(what, [search.trial(chosen) for search, chosen in asked], folder, processes)
        for (search, chosen), row in zip(asked, rows, strict=True):
            result = Result.of_row(row)
            quality = result.evaluation.mean(VALIDATION_NAME)
            search.trials.append(Trial(chosen, quality, round(result.training_seconds, 2)))
    return {name: search.tuned() for name, search in searches.items()}


@dataclass(frozen=True)
class _Search:
    """One model's. `grid`: the values of each setting that may be chosen; `usual`: the settings' defaults."""

    task: ModelTask
    grid: Mapping[str, Sequence[float]]
    usual: Mapping[str, Any]
    trials: list[Trial]

    @classmethod
    def of(cls, task: ModelTask) -> "_Search":
        given, config = dict(task.settings), build_model(task.model, dict(task.settings)).settings
        grid = {name: values for name, values in MODELS[task.model].grid.items() if name not in given}
        return cls(task, grid, {name: config[name] for name in grid}, [])

    def best(self) -> Mapping[str, Any]:
        return max(self.trials, key=lambda trial: trial.quality).chosen if self.trials else self.usual

    def of_round(self, number: int) -> list[dict[str, Any]]:
        """What to try, but what was tried before."""
        best, names = self.best(), list(self.grid)
        if number < len(names):
            asked = [{**best, names[number]: value} for value in self._values(names[number])]
        elif number == len(names) > 0:
            asked = [{**best, names[0]: value} for value in between(self._values(names[0]), best[names[0]])]
        else:
            asked = []
        tried = [trial.chosen for trial in self.trials]
        return [chosen for chosen in asked if chosen not in tried]

    def _values(self, name: str) -> list[float]:
        """The grid's, and the default."""
        return sorted({*self.grid[name], self.usual[name]})

    def trial(self, chosen: Mapping[str, Any]) -> ModelTask:
        settings = (*self.task.settings, *chosen.items())
        return replace(
            self.task, title=f"{self.task.title}, {_named(chosen)}", settings=settings, part="tuning", cut_offs=()
        )

    def tuned(self) -> Tuned:
        before = untuned(self.task)
        if not self.trials:
            return before
        return Tuned({**before.settings, **self.best()}, self.best(), before.given, tuple(self.trials))


def between(values: Sequence[float], best: float) -> list[float]:
    """The neighbours of the best of ascending values, and to two digits the geometric means with it."""
    place = list(values).index(best)
    found = []
    for neighbour in (*values[max(0, place - 1) : place], *values[place + 1 : place + 2]):
        found += [neighbour, float(f"{math.sqrt(neighbour * best):.2g}")]
    return sorted({*found} - {best})


def _named(settings: Mapping[str, Any]) -> str:
    """ "l2 3, alpha 10"."""
    return ", ".join(
        f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}" for name, value in settings.items()
    )
