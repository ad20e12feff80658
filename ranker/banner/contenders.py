"""Which network the banner's ranker is: DLRM, or the logistic regression where displays are few.

Displays have few clicks at first: the first thousand decide some twenty weights well, and millions of others badly.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from ranker.banner.preparation import BundlePart, Prepared
from ranker.banner.served_logistic import as_network, logistic_specification
from ranker.baselines.logistic import LogisticRanker
from ranker.evaluation.differences import SURE, Difference
from ranker.evaluation.metrics import all_metrics, log_loss, log_losses
from ranker.features.examples import Examples
from ranker.training.objectives import CLICKS, Objectives
from ranker.training.ranker import DlrmRanker
from ranker.training.settings import TrainingSettings

log = logging.getLogger(__name__)

Model = Literal["auto", "dlrm", "logistic"]

WARM_BATCH, WARM_CHECKS, WARM_PATIENCE, WARM_EPOCHS = 128, 4, 8, 12
WARM_TABLE_RATE = 0.2
"""Of training on displays what was trained before; `ranker.updates.update.UpdateConfig` begins with the same."""


@dataclass(frozen=True)
class Contender:
    """A ranker with what it is made and measured from, as its specification has it.

    Attributes:
        validation_log_loss: calibrated, on the rows that choose.
    """

    name: str
    ranker: DlrmRanker
    part: BundlePart
    validation: Examples
    test: Examples
    validation_log_loss: float

    def view_of(self, parts: Sequence[Examples]) -> list[Examples]:
        """Rows of the banner's whole specification as this ranker's has them."""
        bags = len(self.ranker.specification.bags)
        return [replace(rows, bags=rows.bags[:bags]) for rows in parts]

    def metrics(self) -> dict[str, Any]:
        """On the test rows."""
        return all_metrics(self.test.label, self.ranker.probability(self.test), self.test.request)

    def sale_metrics(self) -> dict[str, Any]:
        """Of sales, on the test rows of which they are known; {} where these have none."""
        known = np.flatnonzero(~np.isnan(self.test.known_sales))
        sales = self.test.known_sales[known]
        if not 0 < sales.sum() < len(sales):
            return {}
        return all_metrics(sales, self.ranker.sale_probability(self.test)[known], self.test.request[known])


def chosen_contender(
    prepared: Prepared,
    model: Model,
    training: TrainingSettings,
    seed: int,
    processes: int = 1,
    threads: int = 1,
    objectives: Objectives = CLICKS,
) -> tuple[Contender, dict[str, Any]]:
    """The contender that is served; for the manifest, the metrics of all by their names.

    "auto": DLRM; where displays are trained on, the logistic regression on the displays alone, unless the log loss of
    DLRM on the validation displays is surely lower, by two standard errors: of two that can hardly be told apart the
    one with less to learn is the safer.
    """
    makers: dict[str, Callable[[], Contender]] = {
        "dlrm": lambda: _dlrm(prepared, training, seed, processes, threads, objectives),
        "logistic": lambda: _logistic(prepared, training, seed),
    }
    names = ["dlrm", *(["logistic"] if prepared.displayed else [])] if model == "auto" else [model]
    made = [makers[name]() for name in names]
    best, told = made[0], {}
    if len(made) > 1:
        less = [log_losses(one.validation.label, one.ranker.probability(one.validation)) for one in made]
        difference = Difference.of_rows(less[0] - less[1], best.validation.request)
        best = made[0] if difference.mean < -SURE * difference.se else made[1]
        told = {"less logistic": difference.told()}
    losses = {one.name: one.validation_log_loss for one in made}
    log.info("ranker: %s", ", ".join(f"{name} log loss {loss:.5f}" for name, loss in losses.items()))
    figures = {one.name: one.metrics() for one in made}
    figures |= {f"{one.name}, sales": one.sale_metrics() for one in made if one.ranker.sale_platt is not None}
    return best, {"model": {"chosen": best.name, "validation_log_loss": losses, **told}, **figures}


def _dlrm(
    prepared: Prepared, training: TrainingSettings, seed: int, processes: int, threads: int, objectives: Objectives
) -> Contender:
    """On everything; then on the displays alone, which have the last word where there are pooled examples beside."""
    ranker = DlrmRanker(prepared.specification, prepared.part.rows, training)
    ranker.objectives = objectives
    ranker.fit(prepared.train, prepared.validation, seed, processes=processes, threads=threads)
    if 0 < prepared.displayed < len(prepared.train):
        tables = training.tables.changed(learning_rate=WARM_TABLE_RATE * training.tables.learning_rate)
        ranker.config = training.changed(
            epochs=WARM_EPOCHS, batch=WARM_BATCH, checks=WARM_CHECKS, patience=WARM_PATIENCE, tables=tables
        )
        displays = _last(prepared.train, prepared.displayed)
        ranker.fit(displays, prepared.validation, seed, warm=True, processes=processes, threads=threads)
        ranker.config = training
    return _contender("DLRM", ranker, prepared, prepared.part, lambda rows: rows)


def _logistic(prepared: Prepared, training: TrainingSettings, seed: int) -> Contender:
    specification = logistic_specification(prepared.specification)
    part = replace(
        prepared.part,
        vocabularies={name: prepared.part.vocabularies[name] for name in specification.tables},
        waiting={name: prepared.part.waiting[name] for name in specification.tables if name in prepared.part.waiting},
    )
    train = _last(prepared.train, prepared.displayed) if prepared.displayed else prepared.train
    logistic = LogisticRanker(specification, part.rows)
    logistic.fit(_without_bags(train), _without_bags(prepared.validation), seed)
    return _contender("logistic regression", as_network(logistic, training), prepared, part, _without_bags)


def _contender(
    name: str, ranker: DlrmRanker, prepared: Prepared, part: BundlePart, view: Callable[[Examples], Examples]
) -> Contender:
    validation, test = view(prepared.validation), view(prepared.test)
    loss = log_loss(validation.label, ranker.probability(validation))
    return Contender(name, ranker, part, validation, test, loss)


def _last(rows: Examples, count: int) -> Examples:
    return rows.batch(np.arange(len(rows) - count, len(rows)))


def _without_bags(rows: Examples) -> Examples:
    return replace(rows, bags=())
