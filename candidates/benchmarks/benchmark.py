"""Fit models on one data set under its protocol and measure them, one row of figures per model and seed."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from candidates.benchmarks.registry import build_model
from candidates.errors import CandidatesError
from candidates.models.model import UserItemModel
from candidates.models.saving import settings_of
from candidates.protocols.interactions import Interactions, read_interactions
from candidates.protocols.metrics import STRONG, WEAK, Evaluation, Measures, evaluate
from candidates.protocols.splits import FEWEST_EVENTS, PROTOCOL_SEED, Split, read_weak_split, strong_generalisation

Part = Literal["validation", "test"]


@dataclass(frozen=True)
class DatasetRule:
    """How a public data set is read: values above `above` are likes, `held_out` users each validate and test."""

    above: float | None
    held_out: int | None


DATASETS: dict[str, DatasetRule] = {
    "movielens-1m": DatasetRule(above=3.5, held_out=500),
    "movielens-20m": DatasetRule(above=3.5, held_out=10_000),
    "pairs": DatasetRule(above=None, held_out=None),
}


@dataclass(frozen=True)
class Result:
    """One model's row. Seconds are of fitting alone; `epochs` is None for a model without them."""

    model: str
    title: str
    settings: dict[str, Any]
    training_seconds: float
    epochs: int | None
    evaluation: Evaluation

    def figures(self) -> dict[str, Any]:
        """For a JSON file."""
        return {
            "model": self.model,
            "title": self.title,
            "settings": self.settings,
            "training_seconds": round(self.training_seconds, 3),
            "epochs": self.epochs,
            "users": len(next(iter(self.evaluation.per_user.values()))),
            **self.evaluation.figures(),
        }


def load_split(
    dataset: str, path: Path, above: float | None = None, held_out: int | None = None, seed: int = PROTOCOL_SEED
) -> Split:
    """Read a data set and divide it by its protocol.

    `pairs` is a folder with train.txt and test.txt (weak generalisation), or one file of `user item [value]` rows
    (strong generalisation, by default with a tenth of the users, at most 10,000 and at most a quarter of those with
    enough interactions, each for validation and test).

    Args:
        above, held_out: other than the data set's own.
        seed: of the draw of held-out users and hidden items; another than the protocol's is another benchmark.

    Raises:
        CandidatesError: an unknown data set, or a file that cannot be read as one.
    """
    if dataset not in DATASETS:
        raise CandidatesError(f"there is no data set {dataset!r}; expected one of {', '.join(DATASETS)}")
    rule, path = DATASETS[dataset], Path(path)
    if dataset == "pairs" and path.is_dir() and (path / "train.txt").is_file():
        if above is not None or held_out is not None:
            raise CandidatesError(
                f"{path} is a published split; a threshold or a number of held-out users cannot be set for it"
            )
        return read_weak_split(path, seed)
    interactions = read_interactions(path, rule.above if above is None else above)
    if held_out is None:
        held_out = rule.held_out or _usual_held_out(interactions)
    return strong_generalisation(interactions, held_out, seed)


def _usual_held_out(interactions: Interactions) -> int:
    """In many logs most users have too few interactions to be asked about: training keeps half of those who have."""
    interactions_of = np.bincount(interactions.user)
    enough = int(np.count_nonzero(interactions_of >= FEWEST_EVENTS))
    return max(1, min(10_000, len(interactions_of) // 10, enough // 4))


def measures_of(split: Split) -> Measures:
    return STRONG if split.protocol == "strong" else WEAK


def run_model(
    name: str,
    split: Split,
    settings: Mapping[str, str] | None = None,
    seed: int = 0,
    part: Part = "test",
    model: UserItemModel | None = None,
) -> Result:
    """Fit one model and measure it on the test users (or, to choose settings by, on the validation users).

    A model that stops early is fitted without what validation hides, and so is every model measured on validation. One
    that can is fitted again on everything before the test, where the test asks about the same users.

    Args:
        model: one made already, of that name, instead of settings and seed; its progress is then not shown.
    """
    quiet = model is not None
    model = build_model(name, settings, seed) if model is None else model
    validated = model.stops_early or part == "validation"
    started = time.perf_counter()
    users = split.train_for_validation if validated else split.train
    model.fit(users, split.validation if model.stops_early else None, show_progress=not quiet)
    if model.refits and part == "test" and split.protocol == "weak":
        model.refit(split.train)
    seconds = time.perf_counter() - started
    history = getattr(model, "history", None)
    # a training that went on from a checkpoint took the time of the process before it too
    seconds = max(seconds, sum(epoch.seconds for epoch in history or ()))
    return Result(
        model=name,
        title=model.title,
        settings=settings_of(model.config),
        training_seconds=seconds,
        epochs=None if history is None else len(history),
        evaluation=evaluate(model.scores, split.test if part == "test" else split.validation, measures_of(split)),
    )
