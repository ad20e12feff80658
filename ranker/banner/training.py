"""Train the banner's ranker and write its part of a bundle.

specification.yaml   the features                     model.json, weights.safetensors   DLRM without its tables
vocabularies/        ids of each table's rows         tables/                           the embedding tables
statistics/          counts per item                  scorer.pt2, serving.json          the compiled graph
item_values.npy, item_rows.npy, merchant_rows.npy     what the scorer needs per item and merchant
log_position.json    how far the display log was read (ranker/banner/log_cursor.py), if it was
guard.json           whether it serves, and by what that was decided (ranker/banner/guard.py)
"""

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import field_serializer, field_validator, model_validator

from data.attribution import DEFAULT, Attribution
from data.items import ItemTable
from data.settings import Count, Settings, Share, checked
from data.timelines import Timelines
from ranker.banner.contenders import Model, chosen_contender
from ranker.banner.features import Catalogue, item_values
from ranker.banner.guard import Serve, judged
from ranker.banner.logged import Log
from ranker.banner.preparation import BundlePart, Division, Prepared, prepare
from ranker.banner.statistics import ItemStatistics
from ranker.baselines.logistic import LogisticRanker
from ranker.errors import RankerError
from ranker.evaluation.metrics import all_metrics, area_under_curve, grouped_area_under_curve, ndcg
from ranker.features.examples import Examples
from ranker.features.specification import Specification, banner_specification, write_specification
from ranker.features.vocabulary import Vocabulary
from ranker.features.vocabulary_growth import save_waiting
from ranker.networks.quantisation import TableType
from ranker.serving.export import write_serving
from ranker.serving.graph import Wiring
from ranker.training.objectives import CLICKS, Objectives
from ranker.training.ranker import DlrmRanker
from ranker.training.settings import BANNER, Changes, TrainingSettings

log = logging.getLogger(__name__)

INT8 = "DLRM, int8 tables"
"""The name of the ranker's metrics as it is served, where that differs from how it was trained."""

SOURCES_ORDER = "the sources' own order"
"""The name of the metrics of pooled candidates left as they are."""


class RankerConfig(Settings):
    """How the banner's ranker is trained.

    Attributes:
        model: "dlrm", "logistic", or "auto": DLRM; where displays are trained on the logistic regression, unless DLRM
            has a surely lower log loss on validation displays.
        training: of DLRM; a mapping holds changes to `BANNER`.
        validation, test, label, attribution: as `Division`.
        objectives: what a score adds up: clicks, or clicks and sales of one network with two heads.
        baselines: also train the logistic regression, for comparison.
        tables: how the embedding tables are served, float32 or int8 (ranker/networks/quantisation.py); None: as
            those of the ranker in service, or float32.
        processes, threads: that train DLRM on this host, its tables spread over them, and torch's threads in each.
        serve: "auto": the ranker orders banners as far as that helps on later requests (ranker/banner/guard.py);
            "always": it orders them alone; "never": it is kept as a shadow.
    """

    model: Model = "auto"
    training: TrainingSettings = BANNER
    validation: Share = 0.1
    test: Share = 0.15
    label: Literal["click", "sale"] = "click"
    attribution: Attribution = DEFAULT
    objectives: Objectives = CLICKS
    baselines: bool = True
    tables: TableType | None = None
    processes: Count = 1
    threads: Count = 1
    serve: Serve = "auto"

    @field_validator("training", mode="before")
    @classmethod
    def _changes(cls, found: Any) -> Any:
        return checked(Changes, found, "training", RankerError).of(BANNER) if isinstance(found, Mapping) else found

    @field_serializer("training")
    def _whole(self, training: TrainingSettings) -> dict[str, Any]:
        return training.model_dump(mode="json")

    @model_validator(mode="after")
    def _sales_stand_beside_clicks(self) -> Self:
        if self.objectives.sale and (self.label == "sale" or self.model == "logistic"):
            found = "label sale" if self.label == "sale" else "model logistic"
            raise ValueError(f"objectives: a weight of sales needs label click and a DLRM; found {found}")
        return self

    @property
    def division(self) -> Division:
        return Division(self.validation, self.test, self.label, self.attribution, self.objectives)


def train_ranker(
    folder: Path,
    items: ItemTable,
    timelines: Timelines,
    examples: pa.Table | None = None,
    logged: Log | None = None,
    config: RankerConfig | None = None,
    seed: int = 0,
    specification: Specification | None = None,
) -> dict[str, Any]:
    """Train from scratch on pooled examples, on a display log, or both; write the ranker's files; return the metrics.

    Raises:
        RankerError: nothing to train on, or too little.
    """
    config, spec = config or RankerConfig(), specification or banner_specification()
    Wiring.of(spec, config.training.shape, network=config.training.network)  # what cannot be served is not trained
    prepared = prepare(items, timelines, examples, logged, config.division, spec)
    objectives, training, model = config.objectives, config.training, config.model
    if objectives.sale and not prepared.sales_known:
        log.warning(
            "no sales are predicted yet: training and validation displays need sales, and time for them to come"
        )
        objectives = CLICKS
    if objectives.sale:
        training, model = training.changed(shape=training.shape.changed(heads=2)), "dlrm"
    best, contest = chosen_contender(
        prepared, model, training, seed, config.processes, config.threads, objectives=objectives
    )
    told = {"attribution": config.attribution.model_dump()}
    metrics = {"examples": prepared.figures() | told, **contest}
    if objectives.sale:
        metrics["objectives"] = objectives.model_dump()
    if config.baselines and LogisticRanker.name not in metrics:
        metrics |= _of_logistic_regression(prepared, seed)
    metrics |= _floors(spec, prepared.train, prepared.test, ordered=logged is None)
    tables = config.tables or "float32"
    write_trained(folder, best.ranker, best.part, items, tables)
    if tables == "int8":
        served = DlrmRanker.load(folder, best.ranker.specification)
        best = replace(best, ranker=served)
        metrics[INT8] = best.metrics()
    verdict = judged(
        best.ranker, best.validation, best.test, best.part.from_log, config.serve, best.view_of(prepared.pooled)
    )
    verdict.save(folder)
    return metrics | {"guard": verdict.told()}


def served_metrics(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Of the figures that `train_ranker` returns, those of the ranker as it is served."""
    found: dict[str, Any] = metrics.get(INT8) or metrics[metrics.get("model", {}).get("chosen", DlrmRanker.name)]
    return found


def measured(ranker: DlrmRanker, examples: Examples) -> dict[str, Any]:
    """The ranker's metrics, under its name."""
    return {"DLRM": all_metrics(examples.label, ranker.probability(examples), examples.request)}


def write_trained(folder: Path, ranker: DlrmRanker, part: BundlePart, items: ItemTable, tables: TableType) -> None:
    """Everything of a bundle's ranker, into an existing folder: for the scorer, and for the next update."""
    write_ranker(folder, ranker, part.vocabularies, items, part.statistics, part.position_row, tables)
    save_waiting(part.waiting, folder / "vocabularies")
    if part.cursor is not None:
        part.cursor.save(folder)


def _of_logistic_regression(prepared: Prepared, seed: int) -> dict[str, Any]:
    baseline, later = LogisticRanker(prepared.specification, prepared.part.rows), prepared.test
    baseline.fit(prepared.train, prepared.validation, seed)
    predicted = baseline.platt.probability(baseline.logits(later))
    return {baseline.name: all_metrics(later.label, predicted, later.request)}


def _floors(specification: Specification, train: Examples, test: Examples, ordered: bool) -> dict[str, Any]:
    """What knowing nothing would reach, ordering by the item's views alone, and the order in which the sources propose.

    `ordered`: whether the test rows of a request stand in the sources' own order.
    """
    rate = np.full(len(test), float(train.label.mean()))
    floors = {"constant": all_metrics(test.label, rate, test.request)}
    if "item_views" in specification.dense_names:
        views = test.dense[:, specification.dense_names.index("item_views")]
        floors["popularity"] = {
            "auc": area_under_curve(test.label, views),
            "ndcg@10": ndcg(test.label, views, test.request),
            "grouped_auc": grouped_area_under_curve(test.label, views, test.request),
        }
    if ordered:
        place = -np.arange(len(test))
        floors[SOURCES_ORDER] = {
            "ndcg@10": ndcg(test.label, place, test.request),
            "grouped_auc": grouped_area_under_curve(test.label, place, test.request),
        }
    return floors


def write_ranker(
    folder: Path,
    ranker: DlrmRanker,
    vocabularies: dict[str, Vocabulary],
    items: ItemTable,
    statistics: ItemStatistics,
    position_row: int,
    tables: TableType = "float32",
) -> None:
    """Everything `BannerScorer` loads, into an existing folder; the embedding tables in the form `tables`."""
    spec = ranker.specification
    for name in ("vocabularies", "statistics"):
        (folder / name).mkdir(exist_ok=True)
    write_specification(spec, folder / "specification.yaml")
    for name, vocabulary in vocabularies.items():
        vocabulary.save(folder / "vocabularies", name)
    statistics.save(folder / "statistics")
    ranker.save(folder, tables)
    write_catalog_arrays(folder, spec, vocabularies, items, statistics)
    wiring = Wiring.of(spec, ranker.config.shape, tables == "int8", ranker.config.network)
    write_serving(folder, wiring, position_row, spec.dense_names)


def write_catalog_arrays(
    folder: Path, spec: Specification, vocabularies: dict[str, Vocabulary], items: ItemTable, statistics: ItemStatistics
) -> None:
    """What the scorer looks up by position of item and merchant."""
    every = np.arange(len(items), dtype=np.int32)
    np.save(folder / "item_values.npy", item_values(Catalogue.of(items), every, statistics))
    np.save(
        folder / "item_rows.npy", np.stack([_item_rows(one.name, vocabularies[one.table], items) for one in spec.item])
    )
    merchant = next((one for one in spec.request if one.name == "merchant"), None)
    rows = vocabularies[merchant.table].rows_of(items.merchants.ids()) if merchant else np.empty(0, np.int32)
    np.save(folder / "merchant_rows.npy", rows)


def _item_rows(feature: str, vocabulary: Vocabulary, items: ItemTable) -> NDArray[np.int32]:
    """int32 [I]: the table row of every item of the catalog."""
    if feature == "item":
        return vocabulary.rows_of(items.items.ids())
    if feature == "category":
        return vocabulary.rows_of(items.categories.ids())[items.category]
    raise RankerError(f"item feature {feature!r} is unknown to the banner; expected item or category")
