"""Fit one model under a protocol and measure it."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Self

import numpy as np

from candidates.benchmarks.datasets import measures_of
from candidates.benchmarks.registry import build_model
from candidates.models.model import UserItemModel
from candidates.protocols.metrics import VALIDATION, Evaluation, evaluate
from candidates.protocols.splits import Split

Part = Literal["test", "validation", "tuning"]
"""Which users a model is measured on; "tuning": validation users, a sample of them where there are many."""


@dataclass(frozen=True)
class Result:
    """One model's row.

    Attributes:
        chosen: settings that the model's fit chose by validation itself.
        training_seconds: of fitting alone. epochs: None for a model without them.
        notes: what else there is to know of the row, for a JSON file.
    """

    model: str
    title: str
    settings: dict[str, Any]
    chosen: dict[str, Any]
    training_seconds: float
    epochs: int | None
    evaluation: Evaluation
    notes: dict[str, Any] = field(default_factory=dict)

    def row(self) -> dict[str, Any]:
        """Of JSON's types, user by user; `of_row` reads it."""
        per_user = {name: np.round(values, 6).tolist() for name, values in self.evaluation.per_user.items()}
        kept = {name: value for name, value in vars(self).items() if name != "evaluation"}
        return kept | {"per_user": per_user, "coverage": self.evaluation.coverage}

    @classmethod
    def of_row(cls, row: Mapping[str, Any]) -> Self:
        per_user = {name: np.array(values, np.float64) for name, values in row["per_user"].items()}
        kept = {name: row[name] for name in cls.__dataclass_fields__ if name != "evaluation"}
        return cls(**kept, evaluation=Evaluation(per_user, row["coverage"]))

    def figures(self) -> dict[str, Any]:
        """Means with standard errors, for a JSON file."""
        return {
            "model": self.model,
            "title": self.title,
            "settings": self.settings,
            "chosen": self.chosen,
            "training_seconds": round(self.training_seconds, 3),
            "epochs": self.epochs,
            "users": len(next(iter(self.evaluation.per_user.values()))),
            **self.notes,
            **self.evaluation.figures(),
            **self.evaluation.coverage,
        }


def run_model(
    name: str,
    split: Split,
    settings: Mapping[str, Any] | None = None,
    seed: int = 0,
    part: Part = "test",
    model: UserItemModel | None = None,
    cut_offs: Sequence[int] = (),
    show_progress: bool = False,
) -> Result:
    """Fit one model and measure it on the test users (or, to choose settings by, on the validation users).

    A model that stops early is fitted without what validation hides, and so is every model measured on validation. One
    that can is fitted again on everything before the test, where the test asks about the same users.

    Args:
        model: one made already, of that name, instead of settings and seed.
        cut_offs: of Recall and NDCG, instead of the protocol's.
    """
    model = build_model(name, settings, seed) if model is None else model
    validated = model.stops_early or part != "test"
    started = time.perf_counter()
    users = split.train_for_validation if validated else split.train
    model.fit(users, split.validation if model.stops_early else None, show_progress=show_progress)
    if model.refits and part == "test" and split.protocol == "weak":
        model.refit(split.train)
    seconds = time.perf_counter() - started
    history = getattr(model, "history", None)
    # a training that went on from a checkpoint took the time of the process before it too
    seconds = max(seconds, sum(epoch.seconds for epoch in history or ()))
    asked = {"test": split.test, "validation": split.validation}.get(part) or split.validation.sample()
    measures = VALIDATION if part == "tuning" else measures_of(split, cut_offs)
    return Result(
        model=name,
        title=model.title,
        settings=model.settings,
        chosen=model.chosen(),
        training_seconds=seconds,
        epochs=None if history is None else len(history),
        evaluation=evaluate(model.scores, asked, measures),
    )
