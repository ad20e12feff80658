"""Train the banner's ranker and write its part of a bundle.

specification.yaml   the features                     model.json, weights.safetensors   DLRM without its tables
vocabularies/        ids of each table's rows         tables/                           the embedding tables
statistics/          counts per item                  scorer.pt2, serving.json          the compiled graph
item_values.npy, item_rows.npy, merchant_rows.npy     what the scorer needs per item and merchant
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
from ranker.banner_rows import rows_of_examples, rows_of_log
from ranker.examples import Examples, Rows, concatenate, encode, learn_vocabularies, split_by_time
from ranker.export import read_serving, write_serving
from ranker.features import Catalogue, item_values
from ranker.logistic import LogisticRanker
from ranker.metrics import all_metrics, area_under_curve, grouped_area_under_curve, ndcg
from ranker.quantisation import TableType
from ranker.serving_graph import Wiring
from ranker.specification import (
    MISSING_ROW,
    RankerError,
    Specification,
    Vocabulary,
    banner_specification,
    read_specification,
    write_specification,
)
from ranker.statistics import ItemStatistics
from ranker.training import DlrmRanker, TrainingConfig

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
        tables: how the embedding tables are served, float32 or int8 (ranker/quantisation.py); None: as those of the
            ranker that training starts from, or float32.
    """

    training: TrainingConfig = field(default_factory=TrainingConfig)
    validation: float = 0.1
    test: float = 0.15
    label: str = "click"
    rivals: bool = True
    tables: TableType | None = None


@dataclass(frozen=True)
class Log:
    """A display log: displays (DISPLAY_SCHEMA) and tracked events (EVENT_SCHEMA)."""

    displays: pa.Table
    tracked: pa.Table


def train_ranker(
    folder: Path,
    items: ItemTable,
    timelines: Timelines,
    examples: pa.Table | None = None,
    logged: Log | None = None,
    config: RankerConfig | None = None,
    seed: int = 0,
    previous: Path | None = None,
    specification: Specification | None = None,
) -> dict[str, Any]:
    """Train on pooled examples, on a display log, or both; write the ranker's files into `folder`; return the metrics.

    With a log, validation, calibration and test are on its later displays alone: that is what is served. `previous` is
    the ranker folder of an older bundle to start from.

    Raises:
        RankerError: nothing to train on, or too little.
    """
    config, spec = config or RankerConfig(), specification or banner_specification()
    Wiring.of(spec, config.training.shape, network=config.training.network)  # what cannot be served is not trained
    tables = config.tables or (read_serving(previous).tables if previous is not None else "float32")
    parts, left_out = _rows(spec, items, timelines, examples, logged, config)
    *older, newest = parts
    train, validation, test = split_by_time(newest, config.validation, config.test)
    older_ranker = _previous(previous, spec)
    vocabularies = learn_vocabularies(spec, [*older, train])
    encoded = [encode(spec, vocabularies, part) for part in (*older, train)]
    held_out, later = encode(spec, vocabularies, validation), encode(spec, vocabularies, test)
    rows = {name: vocabulary.rows for name, vocabulary in vocabularies.items()}
    ranker = DlrmRanker(spec, rows, config.training)
    if older_ranker is not None and previous is not None:
        ranker.adopt(older_ranker, _ids(previous, spec), {name: one.ids.ids() for name, one in vocabularies.items()})
    pooled = concatenate(encoded)
    ranker.fit(pooled, held_out, seed, warm=older_ranker is not None)
    metrics: dict[str, Any] = {
        "examples": {
            "train": len(pooled),
            "validation": len(held_out),
            "test": len(later),
            "test_requests": len(np.unique(later.request)),
            "left_out": left_out,
            "from_log": logged is not None,
        },
        "DLRM": all_metrics(later.label, ranker.platt.probability(ranker.logits(later)), later.request),
    }
    if config.rivals:
        rival = LogisticRanker(spec, rows)
        rival.fit(pooled, held_out, seed)
        metrics[rival.name] = all_metrics(later.label, rival.platt.probability(rival.logits(later)), later.request)
    metrics |= _floors(spec, pooled, later)
    statistics = ItemStatistics.of(timelines, items, _slots(parts[-1]) if logged is not None else None)
    position_row = 1 if logged is not None and spec.positions else MISSING_ROW
    write_ranker(folder, ranker, vocabularies, items, statistics, position_row, tables)
    if tables == "int8":
        served = DlrmRanker.load(folder, spec)
        metrics[INT8] = all_metrics(later.label, served.platt.probability(served.logits(later)), later.request)
    return metrics


def _rows(
    specification: Specification,
    items: ItemTable,
    timelines: Timelines,
    examples: pa.Table | None,
    logged: Log | None,
    config: RankerConfig,
) -> tuple[list[Rows], dict[str, int]]:
    """Rows of each origin, the one to be measured on last, and what was left out of each."""
    parts, left_out = [], {}
    if examples is not None and len(examples):
        rows, left_out["examples"] = rows_of_examples(specification, items, timelines, examples)
        parts.append(rows)
    if logged is not None:
        if not len(logged.displays):
            raise RankerError("the display log is empty; expected displays of a gateway, or train from timelines")
        rows, left_out["slots"] = rows_of_log(specification, logged.displays, logged.tracked, config.label)
        parts.append(rows)
    if not parts:
        raise RankerError("there is nothing to train the ranker on; expected pooled examples or a display log")
    for name, count in left_out.items():
        if count:
            log.warning("%d %s were left out: their item or their features are not known", count, name)
    return parts, left_out


def _slots(rows: Rows) -> tuple[pa.Array, NDArray[np.float32]]:
    return rows.item_columns["item"], rows.label


def _previous(folder: Path | None, specification: Specification) -> DlrmRanker | None:
    """The ranker to start from; None if there is none, or if it has other features or widths."""
    if folder is None or not (folder / "model.json").is_file():
        return None
    if read_specification(folder / "specification.yaml") != specification:
        log.warning("the previous ranker has other features; training starts from scratch")
        return None
    return DlrmRanker.load(folder, specification)


def _ids(folder: Path, specification: Specification) -> dict[str, list[str]]:
    return {name: Vocabulary.load(folder / "vocabularies", name).ids.ids() for name in specification.tables}


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
    every = np.arange(len(items), dtype=np.int32)
    np.save(folder / "item_values.npy", item_values(Catalogue.of(items), every, statistics))
    np.save(
        folder / "item_rows.npy", np.stack([_item_rows(one.name, vocabularies[one.table], items) for one in spec.item])
    )
    merchant = next((one for one in spec.request if one.name == "merchant"), None)
    rows = vocabularies[merchant.table].rows_of(items.merchants.ids()) if merchant else np.empty(0, np.int32)
    np.save(folder / "merchant_rows.npy", rows)
    wiring = Wiring.of(spec, ranker.config.shape, tables == "int8", ranker.config.network)
    write_serving(folder, wiring, position_row, spec.dense_names)


def _item_rows(feature: str, vocabulary: Vocabulary, items: ItemTable) -> NDArray[np.int32]:
    """int32 [I]: the table row of every item of the catalog."""
    if feature == "item":
        return vocabulary.rows_of(items.items.ids())
    if feature == "category":
        return vocabulary.rows_of(items.categories.ids())[items.category]
    raise RankerError(f"item feature {feature!r} is unknown to the banner; expected item or category")
