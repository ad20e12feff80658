"""DLRM for a table of one's own: numbers, ids and a label per row."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from data.files import refuse_others, replaced_folder
from data.settings import checked
from ranker.errors import RankerError
from ranker.features.examples import Examples
from ranker.features.specification import Specification, read_specification, write_specification
from ranker.features.vocabulary import Vocabulary
from ranker.training.ranker import DlrmRanker
from ranker.training.settings import BANNER, TrainingSettings

_SAVED = ("specification.yaml", "vocabularies", "model.json", "weights.safetensors", "tables")
"""What the folder of a saved model holds."""

Table = Mapping[str, Any]
"""Columns by name: a dict of arrays or lists, a pandas DataFrame, a table of Arrow."""


class Dlrm:
    """DLRM (arXiv 1906.00091) on columns of numbers and ids, with its calibration.

        model = Dlrm(numbers=["price"], ids=["user", "item"]).fit(rows, rows["clicked"])
        model.predict(later)  # probabilities, float64 [n]

    Numbers are standardised by the training rows, missing ones count as 0. An id that training saw fewer than
    `threshold` times, or never, reads the row for unknown ids; a missing one a row of its own.
    """

    def __init__(
        self,
        numbers: Sequence[str],
        ids: Sequence[str],
        dimension: int = 16,
        threshold: int = 5,
        settings: TrainingSettings = BANNER,
    ) -> None:
        """
        Args:
            numbers, ids: names of columns; at least one number. dimension: of the embeddings.
            settings: of the network and its training; the banner ranker's by default.

        Raises:
            RankerError: no number, a name twice, a dimension that is no multiple of 4.
        """
        described = {
            "name": "table",
            "dimension": dimension,
            "dense": [{"name": name} for name in numbers],
            "item": [{"name": name, "table": name} for name in ids],
            "tables": {name: {"threshold": threshold} for name in ids},
        }
        self.specification = checked(Specification, described, "Dlrm", RankerError)
        self.settings = settings
        self._vocabularies: dict[str, Vocabulary] = {}
        self._ranker: DlrmRanker | None = None

    def fit(self, rows: Table, label: Any, validation_share: float = 0.1, seed: int = 0, processes: int = 1) -> Self:
        """Train on rows in the order of their time; the last ones say when to stop, and calibrate.

        Args:
            label: n values, 0 or 1. processes: on this host, the embedding tables spread over them.

        Raises:
            RankerError: a column is missing; rows or labels that nothing can be learnt from.
        """
        label = np.asarray(label, np.float32)
        first = len(label) - max(1, round(validation_share * len(label)))
        for name, part in (("training", label[:first]), ("validation", label[first:])):
            if not 0 < part.sum() < len(part):
                raise RankerError(
                    f"of {len(part)} {name} rows {int(part.sum())} are positive; expected some, and not all"
                )
        learnt = {name: _ids(rows, name).slice(0, first) for name in self.specification.tables}
        tables = self.specification.tables
        self._vocabularies = {name: Vocabulary.learn([column], tables[name]) for name, column in learnt.items()}
        examples = self._examples(rows, label)
        sizes = {name: one.rows for name, one in self._vocabularies.items()}
        ranker = DlrmRanker(self.specification, sizes, self.settings)
        train, validation = examples.batch(np.arange(first)), examples.batch(np.arange(first, len(label)))
        ranker.fit(train, validation, seed, processes=processes)
        self._ranker = ranker
        return self

    def predict(self, rows: Table) -> NDArray[np.float64]:
        """float64 [n]: the probability that each row is positive. Raises RankerError before `fit`."""
        return self._fitted().probability(self._examples(rows, None))

    def save(self, folder: Path | str) -> None:
        """Write the fitted model into a folder, in the place of a model saved there before.

        Raises:
            RankerError: not fitted yet, or a folder that holds anything else.
        """
        ranker = self._fitted()
        refuse_others(Path(folder), _SAVED, RankerError)
        with replaced_folder(Path(folder)) as beside:
            write_specification(self.specification, beside / "specification.yaml")
            (beside / "vocabularies").mkdir()
            for name, vocabulary in self._vocabularies.items():
                vocabulary.save(beside / "vocabularies", name)
            ranker.save(beside)

    @classmethod
    def load(cls, folder: Path | str) -> Self:
        """The model that `save` wrote, with equal predictions. Raises RankerError, DataError where there is none."""
        folder = Path(folder)
        specification = read_specification(folder / "specification.yaml")
        ranker = DlrmRanker.load(folder, specification)
        model = cls.__new__(cls)
        model.specification, model.settings, model._ranker = specification, ranker.config, ranker
        model._vocabularies = {name: Vocabulary.load(folder / "vocabularies", name) for name in specification.tables}
        return model

    def _fitted(self) -> DlrmRanker:
        if self._ranker is None:
            raise RankerError("this Dlrm is not fitted yet; expected fit(rows, label) before")
        return self._ranker

    def _examples(self, rows: Table, label: NDArray[np.float32] | None) -> Examples:
        dense = np.stack([_numbers(rows, name) for name in self.specification.dense_names], axis=1)
        single = [self._vocabularies[name].rows_of_column(_ids(rows, name)) for name in self._vocabularies]
        count = len(dense)
        if any(len(one) != count for one in single) or (label is not None and len(label) != count):
            raise RankerError("columns and labels of different lengths; expected a value of each in every row")
        return Examples(
            dense=dense,
            single=np.stack(single, axis=1) if single else np.empty((count, 0), np.int32),
            bags=(),
            request=np.arange(count),
            position=np.full(count, -1, np.int32),
            label=np.zeros(count, np.float32) if label is None else label,
        )


def _column(rows: Table, name: str) -> Any:
    try:
        return rows[name]
    except KeyError:
        raise RankerError(f"the rows have no column {name!r}") from None


def _numbers(rows: Table, name: str) -> NDArray[np.float32]:
    try:
        return np.nan_to_num(np.asarray(_column(rows, name), np.float32))
    except (TypeError, ValueError) as error:
        raise RankerError(f"column {name}: expected numbers, found {error}") from None


def _ids(rows: Table, name: str) -> pa.Array:
    """Strings; numbers become the text of them."""
    column = _column(rows, name)
    found = column if isinstance(column, pa.ChunkedArray | pa.Array) else pa.array(column, from_pandas=True)
    text = found.cast(pa.string())
    return text.combine_chunks() if isinstance(text, pa.ChunkedArray) else text
