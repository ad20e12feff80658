"""Rows of a folder of `tandem data generate` as a source of training."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data.generators.storage import Generated
from data.settings import checked
from ranker.errors import RankerError
from ranker.features.settings import FeatureSettings, changed_specification
from ranker.features.specification import Specification
from ranker.training.source import GlobalBatch, HostRows, Source, Split, require_table_rows

GENERATED_DIMENSION = 64
"""Embedding dimension of a generated folder's network unless the settings say another (the paper's)."""

_HELD_OUT = 10
"""Of a generated folder's rows one in so many, the last ones, are held out."""


class GeneratedSource(Source):
    """Generated rows: dense features as they are, a bag of lookups per table, added up as in the paper's code.

    Where every row looks up exactly one of each table, they are single ids. The last tenth of the rows is held out.
    """

    def __init__(self, folder: Path, changes: FeatureSettings, dimension: int | None) -> None:
        if changes.integers is not None:
            raise RankerError(
                f"{folder}: generated numbers are no integers; expected features without `integers`, which Criteo's "
                "rows have"
            )
        self._folder, self.manifest = folder, folder / "generated.json"
        self._generated = Generated.open(folder)
        self.table_rows = dict(self._generated.table_rows)
        names = [*self.table_rows]
        self._dense, self._label = self._generated.array("dense"), self._generated.array("label")
        self._offsets = [self._generated.array(f"{name}.offsets") for name in names]
        self._indices = [self._generated.array(f"{name}.indices") for name in names]
        lengths = [np.diff(offsets) for offsets in self._offsets]
        longest = max(int(own.max(initial=1)) for own in lengths)
        single = all((own == 1).all() for own in lengths)
        ids = [{"name": name, "table": name} for name in names]
        features = {
            "name": "generated",
            "dimension": GENERATED_DIMENSION,
            "dense": [{"name": f"dense{k}"} for k in range(self._generated.dense)],
            **({"item": ids} if single else {"bags": [{**one, "length": longest, "pooling": "sum"} for one in ids]}),
            "tables": {name: {} for name in names},
        }
        described = checked(Specification, features, str(folder), RankerError)
        self.specification = changed_specification(described, changes, dimension)

    def rows(self, split: Split) -> int:
        first, last = self._range(split)
        return last - first

    def batches(self, split: Split, size: int, seed: int | None, start: int) -> Iterator[GlobalBatch]:
        """Rows are independent draws, so a seed shuffles whole batches only."""
        first, last = self._range(split)
        count = -(-(last - first) // size)
        full = (last - first) // size
        order = np.arange(count)
        if seed is not None:
            order[:full] = np.random.default_rng(seed).permutation(full)
        for number in order[start:]:
            begin = first + int(number) * size
            yield _GeneratedRows(self, begin, min(begin + size, last))

    def _range(self, split: Split) -> tuple[int, int]:
        rows = self._generated.rows
        middle = rows - rows // _HELD_OUT
        return {"train": (0, middle), "validation": (middle, rows), "test": (rows, rows)}[split]

    def take(self, begin: int, end: int) -> HostRows:
        """Rows begin .. end - 1 of the whole folder."""
        values, lengths = [], []
        for (name, bound), offsets, indices in zip(self.table_rows.items(), self._offsets, self._indices, strict=True):
            own = indices[offsets[begin] : offsets[end]]
            require_table_rows(own, bound, f"{self._folder}, {name}")
            values.append(own.astype(np.int64))
            lengths.append(np.diff(offsets[begin : end + 1]).astype(np.int32))
        dense, label = np.array(self._dense[begin:end]), self._label[begin:end].astype(np.float32)
        return HostRows(dense, np.concatenate(values), np.concatenate(lengths), label)


@dataclass(frozen=True)
class _GeneratedRows(GlobalBatch):
    source: GeneratedSource
    begin: int
    end: int

    @property
    def rows(self) -> int:  # type: ignore[override]
        return self.end - self.begin

    def part(self, begin: int, end: int) -> HostRows:
        return self.source.take(self.begin + begin, self.begin + end)
