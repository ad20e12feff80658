"""Several models on one data set: tuned, fitted, measured; each row is shown as it is done."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from candidates.benchmarks.benchmark import Part, Result
from candidates.benchmarks.datasets import DataSource, measures_of
from candidates.benchmarks.registry import build_model
from candidates.benchmarks.runner import IN_THIS_PROCESS, Task, run_tasks
from candidates.benchmarks.summary import Line, measured, short, with_error
from candidates.benchmarks.tasks import ModelTask
from candidates.benchmarks.tuning import Tuned, tune, untuned
from candidates.errors import CandidatesError
from candidates.models.model import at_once, require_memory
from candidates.protocols.splits import Split
from data.console import console
from data.statistics import Mean


@dataclass
class Comparison:
    """A benchmark's models, and what is known of them so far.

    Attributes:
        names: of MODELS. settings: those that the user gave, by the model's name.
        compare_to: the model to which the others' differences are shown, user by user.
        asked_for: whether the user named the models; else those that memory cannot hold are left out.
        tuned: by the model's name. results: in the order in which they were done.
    """

    source: DataSource
    names: Sequence[str]
    settings: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    seeds: Sequence[int] = (0,)
    part: Part = "test"
    cut_offs: tuple[int, ...] = ()
    compare_to: str | None = None
    asked_for: bool = True
    tuned: dict[str, Tuned] = field(default_factory=dict)
    results: list[Result] = field(default_factory=list)

    def run(self, folder: Path, processes: int, fixed: bool) -> None:
        """Print a row per model and seed. Finished rows are kept in the folder and not fitted again.

        Args:
            fixed: tune nothing.

        Raises:
            CandidatesError: a file that cannot be read, or a model that cannot be fitted; the others come first.
        """
        split = self.source.split()
        console.print(f"{self.source.dataset}, {described(split)}", markup=False, soft_wrap=True)
        names = [name for name in self.names if self._fits(name, split)]
        processes = at_once(map(build_model, names), split.train.shape[1], processes)
        every = {name: self._tasks(name, processes == IN_THIS_PROCESS) for name in names}
        first = {name: several[0] for name, several in every.items()}
        self.tuned = {name: untuned(task) for name, task in first.items()}
        if not fixed:
            self.tuned |= tune(first, folder, processes)
        tasks = {
            name: [replace(one, settings=tuple(self.tuned[name].settings.items())) for one in several]
            for name, several in every.items()
        }
        table = _Table(self, split, [task.title for several in tasks.values() for task in several])
        ahead = [name for name in names if name == self.compare_to]
        for part in (ahead, [name for name in names if name not in ahead]):
            run_tasks("benchmark", [task for name in part for task in tasks[name]], folder, processes, table.show)

    def figures(self) -> dict[str, Any]:
        """Of the rows that are done, for a JSON file."""
        split = self.source.split()
        about = {
            "dataset": self.source.dataset,
            "data_sha256": self.source.digest,
            "protocol": split.protocol,
            "part": self.part,
            "split": sizes(split),
        }
        return about | {"models": [self._figures(result) for result in self.results]}

    def differences(self, result: Result) -> dict[str, Mean]:
        """By measure, to the model that others are compared to, user by user; empty if that is not there."""
        base = next((one.evaluation for one in self.results if one.model == self.compare_to), None)
        per_user = {} if base is None else base.per_user
        return {name: Mean.of_difference(result.evaluation.per_user[name], per_user[name]) for name in per_user}

    def _figures(self, result: Result) -> dict[str, Any]:
        found, changes = result.figures() | self.tuned[result.model].figures(), self.differences(result)
        over = {name: {"mean": change.value, "standard_error": change.error} for name, change in changes.items()}
        return found | ({f"difference to {self.compare_to}": over} if over else {})

    def _tasks(self, name: str, show_progress: bool) -> list[ModelTask]:
        """One for each seed; of a model that draws nothing, one."""
        given = self.settings.get(name, {})
        model = build_model(name, given)
        seeds = self.seeds if model.draws else self.seeds[:1]
        titles = [f"{model.title}, seed {seed}" if len(seeds) > 1 else model.title for seed in seeds]
        return [
            ModelTask(
                self.source,
                title,
                name,
                tuple(given.items()),
                seed,
                part=self.part,
                cut_offs=self.cut_offs,
                show_progress=show_progress,
            )
            for title, seed in zip(titles, seeds, strict=True)
        ]

    def _fits(self, name: str, split: Split) -> bool:
        """Whether memory holds what the model needs; a model that was asked for by name is refused instead."""
        try:
            require_memory(build_model(name), split.train.shape[1])
        except CandidatesError as error:
            if self.asked_for:
                raise
            console.print(f"left out: {error}", soft_wrap=True)
            return False
        return True


class _Table:
    """A table printed row by row: its columns are as wide as their cells can be."""

    def __init__(self, comparison: Comparison, split: Split, titles: Sequence[str]) -> None:
        measures = measures_of(split, comparison.cut_offs)
        self._comparison, self._first = comparison, f"recall@{measures.recall_at[0]}"
        ahead = f"over {comparison.compare_to}" if comparison.compare_to else ""
        names = [*(f"recall@{k}" for k in measures.recall_at), *(f"ndcg@{k}" for k in measures.ndcg_at)]
        self._per_user, self._coverage = names, [f"coverage@{k}" for k in measures.recall_at[:1]]
        headers = [*names, *([ahead] if ahead else []), *self._coverage, "epochs", "time"]
        self._widths = [
            max([5, *map(len, titles)]),
            *(max(13, len(one)) for one in headers[: -2 - len(self._coverage)]),
        ]
        self._widths += [len(one) for one in self._coverage] + [6, 8]
        console.print(f"\nMeans over the {comparison.part} users ± standard errors; time to train")
        self._print(["model", *headers, "settings"])

    def show(self, task: Task, row: dict[str, Any]) -> None:
        """Keep and print one."""
        result = Result.of_row(row)
        self._comparison.results.append(result)
        line, compared = Line.of(task.title, [result]), self._comparison.compare_to
        cells = [task.title, *(measured(line, name) for name in self._per_user)]
        if compared:
            change = self._comparison.differences(result).get(self._first)
            cells.append("" if change is None or compared == result.model else with_error(change, "+"))
        cells += [short(result.evaluation.coverage[name], 3) for name in self._coverage]
        cells += ["" if result.epochs is None else str(result.epochs), _duration(result.training_seconds)]
        self._print([*cells, self._comparison.tuned[result.model].words(result)])

    def _print(self, cells: Sequence[str]) -> None:
        name, *others = [
            f"{cell:<{width}}" if not place else f"{cell:>{width}}"
            for place, (cell, width) in enumerate(zip(cells, self._widths, strict=False))
        ]
        console.print("  ".join([name, *others, cells[-1]]), markup=False, highlight=False, soft_wrap=True)


def given_settings(names: Sequence[str], texts: Sequence[str]) -> dict[str, dict[str, str]]:
    """ "ease.l2=300" as {"ease": {"l2": "300"}}; the model's name may be left out if only one is run.

    Raises:
        CandidatesError: a misspelt model or setting: told before the first hour of training.
    """
    chosen: dict[str, dict[str, str]] = {}
    for text in texts:
        left, equals, value = text.partition("=")
        name, dot, key = left.rpartition(".")
        name = name if dot else (names[0] if len(set(names)) == 1 else "")
        if not equals or name not in names:
            raise CandidatesError(f"--set is {text!r}; expected MODEL.SETTING=VALUE for one of {', '.join(names)}")
        chosen.setdefault(name, {})[key] = value
    for name in names:
        build_model(name, chosen.get(name))
    return chosen


def sizes(split: Split) -> dict[str, int]:
    users, items = split.train.shape
    found = {
        "training_users": users,
        "items": items,
        "training_interactions": int(split.train.nnz),
        "validation_users": len(split.validation),
        "test_users": len(split.test),
    }
    return found | ({"test_pairs_left_out_as_training_pairs": split.repeated} if split.repeated else {})


def described(split: Split) -> str:
    found = ", ".join(f"{count:,} {what.replace('_', ' ')}" for what, count in sizes(split).items())
    return f"{split.protocol} generalisation: {found}"


def _duration(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 100 else f"{seconds:,.0f} s"
