"""A trained network in a folder of its own, with all that is needed to score rows: no bundle, no catalog, no workspace.

specification.yaml                             the features           vocabulary/            ids of Criteo's tables
model.json, weights.safetensors, tables/       the network            scorer.pt2, serving.json   the compiled graph

`RowScorer` scores rows of Criteo's columns with it. A network that has no serving graph (DCN), or whose bags differ
from row to row, is predicted by the network itself.
"""

import shutil
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data.criteo.clicks import COLUMNS, ClickColumns, read_clicks
from data.criteo.layout import CATEGORICAL, DENSE
from data.criteo.rows import NO_ID, CriteoRows
from data.criteo.vocabulary import Vocabulary
from data.files import new_folder
from data.settings import read_json
from ranker.errors import RankerError
from ranker.features.examples import Examples
from ranker.features.specification import (
    MISSING_ROW,
    Specification,
    read_specification,
    write_specification,
)
from ranker.networks.quantisation import TableType
from ranker.serving.compiled import CompiledGraph
from ranker.serving.export import write_serving
from ranker.serving.graph import Wiring
from ranker.training.criteo_source import CriteoColumns
from ranker.training.from_run import ranker_of_run
from ranker.training.ranker import DlrmRanker
from ranker.training.run_folder import RunFolder

_AT_ONCE = 16_384
_COMPANIONS = ("vocabulary", "vocabularies")


def export_run(run: Path, folder: Path, tables: TableType = "float32") -> bool:
    """Write the standalone folder of a run of `tandem ranker fit`; whether it has a compiled graph.

    Raises:
        RankerError, DataError: there is no such run or no whole checkpoint; the folder is there already.
    """
    ranker = ranker_of_run(run, calibrated=True)
    specification, config = ranker.specification, ranker.config
    with new_folder(folder, RankerError) as beside:
        write_specification(specification, beside / "specification.yaml")
        for name in _COMPANIONS:
            if (run / name).is_dir():
                shutil.copytree(run / name, beside / name)
        ranker.save(beside, tables)
        compiled = config.network == "dlrm" and not specification.request and not specification.bags
        if compiled:
            wiring = Wiring.of(specification, config.shape, tables == "int8")
            write_serving(beside, wiring, MISSING_ROW, specification.dense_names)
    return compiled


def columns_of(folder: Path) -> ClickColumns | None:
    """The columns of the log that `tandem data clicks` made a run's rows of; None of Criteo's."""
    path = folder / "vocabulary" / COLUMNS
    return read_json(path, ClickColumns, expected="the columns of a click log") if path.exists() else None


class RowScorer:
    """Scores rows of a click log's columns: of Criteo's, or of those that `tandem data clicks` read.

    `graph`: compiled; None where the network itself predicts. `log`: the columns of a log that is not Criteo's.
    """

    def __init__(self, folder: Path, specification: Specification) -> None:
        self.log = columns_of(folder)
        names = (self.log.numbers, self.log.ids) if self.log is not None else (DENSE, CATEGORICAL)
        self._columns = CriteoColumns.of(specification, str(folder / "specification.yaml"), *names)
        self.graph: CompiledGraph | None = None
        self._ranker: DlrmRanker | None = None
        if RunFolder(folder).begun:
            self._ranker = ranker_of_run(folder, calibrated=True)
        elif (folder / "serving.json").exists():
            self.graph = CompiledGraph(folder, specification)
        else:
            self._ranker = DlrmRanker.load(folder, specification)
        rows = self.graph.rows if self.graph is not None else self._ranker.rows  # type: ignore[union-attr]
        self._vocabularies = [Vocabulary.load(folder / "vocabulary", name, rows[name]) for name in names[1]]

    @classmethod
    def load(cls, folder: Path) -> "RowScorer":
        """Of a run of `tandem ranker fit`, or of a folder that `tandem ranker export RUN --output` wrote.

        Raises:
            RankerError, DataError: a file is missing or damaged; the features are not Criteo's; the graph was compiled
                for another machine.
        """
        return cls(folder, read_specification(folder / "specification.yaml"))

    def read(self, path: Path) -> CriteoRows:
        """Rows to score: a log as the one that was learnt from, or a folder converted from one.

        Raises:
            DataError: there is none, or a bad row.
        """
        if path.is_dir():
            return CriteoRows.of_folder(path, as_written=True)
        return CriteoRows.read(path) if self.log is None else read_clicks(path, self.log)[0]

    def score(self, rows: CriteoRows) -> NDArray[np.float64]:
        """float64 [n]: the probability of a click on each row."""
        found = np.empty(len(rows))
        for start in range(0, len(rows), _AT_ONCE):
            part = rows[start : start + _AT_ONCE]
            found[start : start + _AT_ONCE] = self._scored(part)
        return found

    def _scored(self, rows: CriteoRows) -> NDArray[np.floating]:
        missing = rows.ids == NO_ID
        known = [
            vocabulary.rows_of(ids.astype(np.uint32), gone)
            for vocabulary, ids, gone in zip(self._vocabularies, rows.ids.T, missing.T, strict=True)
        ]
        dense, ids = self._columns.features(rows.dense, np.stack(known))
        if self.graph is not None:
            return self.graph.run(dense, ids, np.empty(0, np.int64), [])
        assert self._ranker is not None
        count = len(rows)
        single, nowhere = ids.T.astype(np.int32), np.full(count, -1, np.int32)
        return self._ranker.probability(Examples(dense, single, (), np.arange(count), nowhere, rows.label))
