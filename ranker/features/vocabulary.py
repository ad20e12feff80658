"""The vocabularies that turn ids into rows of embedding tables."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from data.ids import IdMap
from ranker.features.specification import MISSING_ROW, RESERVED_ROWS, UNKNOWN_ROW, Table


@dataclass(frozen=True)
class Vocabulary:
    """The ids that have a row of their own: id at position p of `ids` is row p + RESERVED_ROWS."""

    ids: IdMap

    @property
    def rows(self) -> int:
        """Of the table, reserved rows included."""
        return len(self.ids) + RESERVED_ROWS

    @classmethod
    def learn(cls, columns: Sequence[pa.Array], table: Table) -> "Vocabulary":
        """From columns of strings (dictionary-encoded or not): the ids seen at least `table.threshold` times in all.

        Nulls and empty strings are "missing", not ids. The commonest comes first; ties in the order of the ids.
        """
        return cls(IdMap.of([])).grown(count_ids(columns), table, Counter())[0]

    def grown(self, counts: Counter[str], table: Table, waiting: Counter[str]) -> tuple["Vocabulary", Counter[str]]:
        """With new ids behind its own, which keep their rows; and the counts of those that are not yet frequent enough.

        Args:
            counts: of ids now. waiting: of ids that were not frequent enough before.
        """
        held = self.ids.ids()
        known = set(held)
        together = Counter({one: count for one, count in counts.items() if one not in known})
        together.update(waiting)
        frequent = (one for one, count in together.items() if count >= table.threshold)
        admitted = sorted(frequent, key=lambda one: (-together[one], one))[: max(table.limit - len(held), 0)]
        for one in admitted:
            del together[one]
        return Vocabulary(IdMap.of([*held, *admitted])), together

    def rows_of(self, ids: Sequence[str | None]) -> NDArray[np.int32]:
        """int32 [len(ids)]: the table row of each id; None and "" are missing."""
        positions = self.ids.positions([one or "" for one in ids])
        rows = np.where(positions >= 0, positions + RESERVED_ROWS, UNKNOWN_ROW).astype(np.int32)
        rows[[k for k, one in enumerate(ids) if not one]] = MISSING_ROW
        return rows

    def rows_of_column(self, column: pa.Array) -> NDArray[np.int32]:
        """The same for a whole Arrow column: each distinct id is looked up once."""
        encoded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
        row_of = self.rows_of(encoded.dictionary.to_pylist())
        codes = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False)
        if not len(row_of):
            return np.full(len(codes), MISSING_ROW, np.int32)
        return np.where(codes >= 0, row_of[codes], MISSING_ROW).astype(np.int32)

    def save(self, folder: Path, name: str) -> None:
        self.ids.save(folder, name)

    @classmethod
    def load(cls, folder: Path, name: str) -> "Vocabulary":
        return cls(IdMap.load(folder, name))


def count_ids(columns: Sequence[pa.Array]) -> Counter[str]:
    """How often each id occurs in columns of strings, dictionary-encoded or not; nulls and "" are no ids."""
    seen: Counter[str] = Counter()
    for column in columns:
        values, counts = _distinct(column)
        for value, count in zip(values, counts.tolist(), strict=True):
            if value and count:
                seen[value] += count
    return seen


def _distinct(column: pa.Array) -> tuple[list[str], NDArray[np.int64]]:
    """The distinct values of a column and how often each occurs; nulls are left out."""
    encoded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    codes = encoded.indices.drop_null().to_numpy(zero_copy_only=False)
    return encoded.dictionary.to_pylist(), np.bincount(codes, minlength=len(encoded.dictionary))
