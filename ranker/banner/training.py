"""Train the banner's ranker and write its part of a bundle.

specification.yaml   the features                     model.json, weights.safetensors   DLRM without its tables
vocabularies/        ids of each table's rows         tables/                           the embedding tables
statistics/          counts per item                  scorer.pt2, serving.json          the compiled graph
item_values.npy, item_rows.npy, merchant_rows.npy     what the scorer needs per item and merchant
log_position.json    how far the display log was read (ranker/banner/log_cursor.py), if it was
"""

import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from data.items import ItemTable
from data.timelines import Timelines
from ranker.banner.features import Catalogue, item_values
from ranker.banner.logged import Log, Parts, split_log
from ranker.banner.rows import rows_of_examples
from ranker.banner.statistics import ItemStatistics
from ranker.baselines.logistic import LogisticRanker
from ranker.errors import RankerError
from ranker.evaluation.metrics import all_metrics, area_under_curve, grouped_area_under_curve, ndcg
from ranker.features.examples import Examples, Rows, concatenate, encode, split_by_time
from ranker.features.specification import MISSING_ROW, Specification, banner_specification, write_specification
from ranker.features.vocabulary import Vocabulary
from ranker.features.vocabulary_growth import grow_vocabularies, save_waiting
from ranker.networks.quantisation import TableType
from ranker.serving.export import write_serving
from ranker.serving.graph import Wiring
from ranker.training.learning_rates import TrainingConfig
from ranker.training.ranker import DlrmRanker

log = logging.getLogger(__name__)

INT8 = "DLRM, int8 tables"
"""The name of the ranker's metrics as it is served, where that differs from how it was trained."""


@dataclass(frozen=True)
class RankerConfig:
    """How the banner's ranker is trained.

    Attributes:
        training: of DLRM.
        validation, test: shares of the requests, by time: the last are the test, before them validation.
        label: what a logged slot is labelled with: "click" (landed) or "sale" (landed and bought).
        rivals: also train the logistic regression, for comparison.
        tables: how the embedding tables are served, float32 or int8 (ranker/networks/quantisation.py); None: as
            those of the ranker in service, or float32.
    """

    training: TrainingConfig = field(default_factory=TrainingConfig)
    validation: float = 0.1
    test: float = 0.15
    label: str = "click"
    rivals: bool = True
    tables: TableType | None = None


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

    With a log, validation, calibration and test are on its later displays alone: that is what is served.

    Raises:
        RankerError: nothing to train on, or too little.
    """
    config, spec = config or RankerConfig(), specification or banner_specification()
    Wiring.of(spec, config.training.shape, network=config.training.network)  # what cannot be served is not trained
    older, parts, left_out = _rows(spec, items, timelines, examples, logged, config)
    vocabularies, waiting = grow_vocabularies(spec, [*older, parts.train])
    encoded = [encode(spec, vocabularies, part) for part in (*older, parts.train)]
    held_out, later = encode(spec, vocabularies, parts.validation), encode(spec, vocabularies, parts.test)
    rows = {name: vocabulary.rows for name, vocabulary in vocabularies.items()}
    ranker = DlrmRanker(spec, rows, config.training)
    pooled = concatenate(encoded)
    ranker.fit(pooled, held_out, seed)
    metrics: dict[str, Any] = {
        "examples": {
            "train": len(pooled),
            "validation": len(held_out),
            "test": len(later),
            "test_requests": len(np.unique(later.request)),
            "left_out": left_out,
            "from_log": logged is not None,
            "label": config.label,
        },
        "DLRM": all_metrics(later.label, ranker.platt.probability(ranker.logits(later)), later.request),
    }
    if config.rivals:
        rival = LogisticRanker(spec, rows)
        rival.fit(pooled, held_out, seed)
        metrics[rival.name] = all_metrics(later.label, rival.platt.probability(rival.logits(later)), later.request)
    metrics |= _floors(spec, pooled, later)
    statistics = ItemStatistics.of(timelines, items, parts.counted)
    position_row = 1 if logged is not None and spec.positions else MISSING_ROW
    write_ranker(folder, ranker, vocabularies, items, statistics, position_row, config.tables or "float32")
    if config.tables == "int8":
        served = DlrmRanker.load(folder, spec)
        metrics[INT8] = all_metrics(later.label, served.platt.probability(served.logits(later)), later.request)
    save_waiting(waiting, folder / "vocabularies")
    if parts.cursor is not None:
        parts.cursor.save(folder)
    return metrics


def _rows(
    specification: Specification,
    items: ItemTable,
    timelines: Timelines,
    examples: pa.Table | None,
    logged: Log | None,
    config: RankerConfig,
) -> tuple[list[Rows], Parts, dict[str, int]]:
    """Rows that are only trained on, those that are split by time, and what was left out of each."""
    older, left_out = [], {}
    if examples is not None and len(examples):
        rows, left_out["examples"] = rows_of_examples(specification, items, timelines, examples)
        older.append(rows)
    if logged is None and not older:
        raise RankerError("there is nothing to train the ranker on; expected pooled examples or a display log")
    if logged is None:
        parts = Parts(*split_by_time(older.pop(), config.validation, config.test))
    else:
        parts = split_log(specification, logged, config.validation, config.test, config.label)
        left_out["slots"] = parts.left_out
    for name, count in left_out.items():
        if count:
            log.warning("%d %s were left out: their item or their features are not known", count, name)
    return older, parts, left_out


def _floors(specification: Specification, train: Examples, test: Examples) -> dict[str, Any]:
    """What knowing nothing, and ordering by the item's views alone, would reach."""
    rate = np.full(len(test), float(train.label.mean()))
    floors = {"constant": all_metrics(test.label, rate, test.request)}
    if "item_views" in specification.dense_names:
        views = test.dense[:, specification.dense_names.index("item_views")]
        floors["popularity"] = {
            "auc": area_under_curve(test.label, views),
            "ndcg@10": ndcg(test.label, views, test.request),
            "grouped_auc": grouped_area_under_curve(test.label, views, test.request),
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
