"""The banner's training rows, encoded, and what else a bundle's ranker is made of beside the trained network.

`Prepared.save` writes a folder that `tandem ranker fit` trains on; its runs carry the part for the bundle along:

vocabularies/    ids of each table's rows, and those that wait for one
banner/          statistics/: counts per item; log_position.json: how far the display log was read; part.json
"""

import json
import logging
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from data.attribution import DEFAULT, Attribution
from data.files import sha256_of_json, write_text_atomically
from data.items import ItemTable
from data.timelines import Timelines
from ranker.banner.log_cursor import LogCursor
from ranker.banner.logged import Log, Parts, split_log
from ranker.banner.rows import rows_of_examples
from ranker.banner.statistics import ItemStatistics
from ranker.errors import RankerError
from ranker.features.examples import Examples, Rows, concatenate, encode, split_by_time
from ranker.features.specification import MISSING_ROW, Specification, banner_specification
from ranker.features.vocabulary import Vocabulary
from ranker.features.vocabulary_growth import grow_vocabularies, load_waiting, save_waiting
from ranker.training.examples_source import ExamplesSource
from ranker.training.objectives import CLICKS, Objectives

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Division:
    """Which rows are which: shares of the requests by time, and what makes a logged slot positive.

    Attributes:
        validation, test: the last requests are the test, before them validation.
        label: "click" (landed) or "sale" (landed and bought).
        attribution: which click earns a sale. objectives: what a score adds up; sales beside clicks alone.
    """

    validation: float = 0.1
    test: float = 0.15
    label: str = "click"
    attribution: Attribution = DEFAULT
    objectives: Objectives = CLICKS


@dataclass(frozen=True)
class BundlePart:
    """What a bundle's ranker is made of beside the trained network.

    Attributes:
        waiting: ids not yet frequent enough for a row, by table.
        statistics: of the items. position_row: the row of the position bias that all candidates are scored with.
        label: what a slot was labelled with. from_log: whether displays were trained on; cursor: up to which.
        catalog: digest of the items' ids, in whose order the statistics count (`catalog_digest`).
    """

    vocabularies: dict[str, Vocabulary]
    waiting: dict[str, Counter[str]]
    statistics: ItemStatistics
    position_row: int
    label: str
    from_log: bool
    cursor: LogCursor | None
    catalog: str

    @property
    def rows(self) -> dict[str, int]:
        """Of each table."""
        return {name: vocabulary.rows for name, vocabulary in self.vocabularies.items()}

    def save(self, folder: Path) -> None:
        for name in ("vocabularies", "banner", "banner/statistics"):
            (folder / name).mkdir()
        for name, vocabulary in self.vocabularies.items():
            vocabulary.save(folder / "vocabularies", name)
        save_waiting(self.waiting, folder / "vocabularies")
        self.statistics.save(folder / "banner" / "statistics")
        if self.cursor is not None:
            self.cursor.save(folder / "banner")
        told = {"position_row": self.position_row, "label": self.label, "from_log": self.from_log}
        told["catalog"] = self.catalog
        write_text_atomically(folder / "banner" / "part.json", json.dumps(told, indent=2) + "\n")

    @classmethod
    def load(cls, folder: Path, specification: Specification) -> "BundlePart":
        """Of a folder of encoded rows, or of a run that was trained on one.

        Raises:
            RankerError, DataError: a file is missing or damaged.
        """
        path = folder / "banner" / "part.json"
        try:
            told = json.loads(path.read_text())
            position_row, label, from_log = int(told["position_row"]), str(told["label"]), bool(told["from_log"])
            catalog = str(told["catalog"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RankerError(
                f"{path}: expected a run on rows of `tandem ranker encode`, whose network a bundle can serve; "
                f"found {error}"
            ) from None
        names = specification.tables
        return cls(
            vocabularies={name: Vocabulary.load(folder / "vocabularies", name) for name in names},
            waiting=load_waiting(specification, folder / "vocabularies"),
            statistics=ItemStatistics.load(folder / "banner" / "statistics"),
            position_row=position_row,
            label=label,
            from_log=from_log,
            cursor=LogCursor.load(folder / "banner") if from_log else None,
            catalog=catalog,
        )


@dataclass(frozen=True)
class Prepared:
    """Encoded rows, by what they are for, and the part for the bundle.

    Attributes:
        left_out: rows whose item or features are not known, by origin.
        displayed: how many of the training rows are slots of displays; they are the last.
        pooled: beside a log, the later pooled requests, in two parts or none; nothing is learnt from them.
    """

    specification: Specification
    train: Examples
    validation: Examples
    test: Examples
    part: BundlePart
    left_out: dict[str, int]
    displayed: int = 0
    pooled: Sequence[Examples] = ()

    @property
    def sales_known(self) -> bool:
        """Whether training and validation rows have sales, and slots without one."""
        known = (one.known_sales[~np.isnan(one.known_sales)] for one in (self.train, self.validation))
        return all(0 < float(one.sum()) < len(one) for one in known)

    def save(self, folder: Path) -> None:
        """Write a folder that `tandem ranker fit` trains on."""
        splits = {"train": self.train, "validation": self.validation, "test": self.test}
        self.part.save(folder)
        ExamplesSource(self.specification, self.part.rows, splits).save(folder)  # type: ignore[arg-type]

    def figures(self) -> dict[str, Any]:
        """What was trained and measured on, for the manifest of a bundle."""
        return {
            "train": len(self.train),
            "validation": len(self.validation),
            "test": len(self.test),
            "test_requests": len(np.unique(self.test.request)),
            "left_out": self.left_out,
            "from_log": self.part.from_log,
            "label": self.part.label,
        }


def prepare(
    items: ItemTable,
    timelines: Timelines,
    examples: pa.Table | None = None,
    logged: Log | None = None,
    division: Division | None = None,
    specification: Specification | None = None,
) -> Prepared:
    """Encode pooled examples, a display log, or both.

    With a log, validation, calibration and test are on its later displays alone: that is what is served.

    Raises:
        RankerError: nothing to train on, or too little.
    """
    division, spec = division or Division(), specification or banner_specification()
    older, pooled, parts, left_out = _rows(spec, items, timelines, examples, logged, division)
    vocabularies, waiting = grow_vocabularies(spec, [*older, parts.train])
    part = BundlePart(
        vocabularies=vocabularies,
        waiting=waiting,
        statistics=ItemStatistics.of(timelines, items, parts.counted),
        position_row=1 if logged is not None and spec.positions else MISSING_ROW,
        label=division.label,
        from_log=logged is not None,
        cursor=parts.cursor,
        catalog=catalog_digest(items),
    )
    return Prepared(
        specification=spec,
        train=concatenate([encode(spec, vocabularies, rows) for rows in (*older, parts.train)]),
        validation=encode(spec, vocabularies, parts.validation),
        test=encode(spec, vocabularies, parts.test),
        part=part,
        left_out=left_out,
        displayed=0 if logged is None else len(parts.train),
        pooled=[encode(spec, vocabularies, rows) for rows in pooled],
    )


def catalog_digest(items: ItemTable) -> str:
    """Of the items' ids in order of position: where it is the same, a position is the same item."""
    return sha256_of_json(items.items.ids())


def _rows(
    specification: Specification,
    items: ItemTable,
    timelines: Timelines,
    examples: pa.Table | None,
    logged: Log | None,
    division: Division,
) -> tuple[list[Rows], list[Rows], Parts, dict[str, int]]:
    """Rows only trained on; pooled ones kept apart beside a log; rows split by time; what was left out of each."""
    older: list[Rows] = []
    pooled: list[Rows] = []
    left_out: dict[str, int] = {}
    if examples is not None and len(examples):
        rows, left_out["examples"] = rows_of_examples(specification, items, timelines, examples)
        older.append(rows)
    if logged is None and not older:
        raise RankerError("there is nothing to train the ranker on; expected pooled examples or a display log")
    if logged is None:
        parts = Parts(*split_by_time(older.pop(), division.validation, division.test))
    else:
        parts = split_log(
            specification,
            logged,
            division.validation,
            division.test,
            division.label,
            attribution=division.attribution,
            objectives=division.objectives,
        )
        if older:
            with suppress(RankerError):  # too few to keep some of them apart
                train, *pooled = split_by_time(older[0], division.validation, division.test)
                older = [train]
        left_out["slots"] = parts.left_out
    for name, count in left_out.items():
        if count:
            log.warning("%d %s were left out: their item or their features are not known", count, name)
    return older, pooled, parts, left_out
