"""Which features a ranker reads: a YAML file, checked on load, and the vocabularies that turn ids into table rows.

A categorical feature reads a table. Row 0 of every table stands for "missing" and row 1 for "out of vocabulary":
unknown ids, and ids seen fewer than `threshold` times in training. An id of the vocabulary has a row of its own.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import pyarrow as pa
import yaml
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from data.errors import TandemError
from data.ids import IdMap
from data.yaml_text import parse_yaml

MISSING_ROW = 0
UNKNOWN_ROW = 1
RESERVED_ROWS = 2


class RankerError(TandemError):
    """A feature specification, a set of examples or a trained ranker that is not what it should be."""


Dimension = Annotated[int, Field(ge=4, le=1024, multiple_of=4)]
"""Of an embedding; fbgemm's kernels want a multiple of 4."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Feature(_Strict):
    name: str


class TableFeature(Feature):
    """Features that name the same table share its rows and its vocabulary."""

    table: str


class Dense(Feature):
    """A number. `log` asks a loader of raw columns for sign(x) log(1 + |x|); the banner's come transformed."""

    log: bool = False


class Categorical(TableFeature):
    """A single id. `buckets_of` names a column of numbers whose logarithmic buckets are the ids (ranker/buckets.py)."""

    buckets_of: str | None = None


class Bag(TableFeature):
    """Up to `length` ids of a request, whose embeddings are averaged or added up (a multi-hot feature)."""

    length: Annotated[int, Field(ge=1, le=1000)]
    pooling: Literal["mean", "sum"] = "mean"


class Table(_Strict):
    """An embedding table: ids seen fewer than `threshold` times share one row; at most `limit` ids, commonest first.

    `dimension`: of this table's embeddings, at most the specification's, which is the default. DLRM projects shorter
    embeddings to the common dimension by a learnt matrix (mixed dimensions: Ginart et al., arXiv 1909.11810).
    """

    threshold: Annotated[int, Field(ge=1)] = 1
    limit: Annotated[int, Field(ge=0)] = 10_000_000
    dimension: Dimension | None = None


class Specification(_Strict):
    """A whole feature specification.

    Attributes:
        dimension: of the embeddings as they interact; a table may have a smaller one of its own.
        dense, request, item, bags: features in the order of the model's inputs. `request` features have one value per
            request, `item` features one per candidate; a table of plain rows (Criteo) lists everything under `item`.
        tables: by name.
        positions: slots whose position has a bias of its own, an additive term of the logit; 0 for none.
    """

    name: str
    dimension: Dimension
    dense: tuple[Dense, ...]
    request: tuple[Categorical, ...] = ()
    item: tuple[Categorical, ...] = ()
    bags: tuple[Bag, ...] = ()
    tables: dict[str, Table]
    positions: Annotated[int, Field(ge=0, le=1000)] = 0

    @model_validator(mode="after")
    def _names_agree(self) -> "Specification":
        features = [one.name for one in (*self.dense, *self.table_features)]
        twice = sorted({name for name in features if features.count(name) > 1})
        if twice:
            raise ValueError(f"feature names must be distinct, but {twice[0]!r} occurs twice")
        if not self.dense:
            raise ValueError("at least one dense feature is needed: the bottom MLP reads them")
        used = {one.table for one in self.table_features}
        if used - self.tables.keys():
            raise ValueError(f"table {sorted(used - self.tables.keys())[0]!r} is used but not described under tables")
        if self.tables.keys() - used:
            raise ValueError(f"table {sorted(self.tables.keys() - used)[0]!r} is described but no feature uses it")
        wide = [name for name in self.tables if self.dimension_of(name) > self.dimension]
        if wide:
            raise ValueError(
                f"table {wide[0]!r} has dimension {self.dimension_of(wide[0])}; expected at most the specification's "
                f"own, {self.dimension}"
            )
        return self

    def dimension_of(self, table: str) -> int:
        """Of one table's embeddings."""
        return self.tables[table].dimension or self.dimension

    @property
    def mixed(self) -> tuple[str, ...]:
        """The tables whose dimension is not the common one."""
        return tuple(name for name in self.tables if self.dimension_of(name) != self.dimension)

    @property
    def dense_names(self) -> tuple[str, ...]:
        return tuple(one.name for one in self.dense)

    @property
    def singles(self) -> tuple[Categorical, ...]:
        """Single-valued features in the order of `Examples.single`: the request's, then the item's."""
        return (*self.request, *self.item)

    @property
    def table_features(self) -> tuple[TableFeature, ...]:
        """Every categorical feature: the single-valued ones, then the bags."""
        return (*self.request, *self.item, *self.bags)


def read_specification(path: Path) -> Specification:
    """Raises RankerError naming the file and the field that is wrong."""
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise RankerError(f"{path}: expected a feature specification there, found {error}") from None
    return parse_specification(text, str(path))


def parse_specification(text: str, where: str) -> Specification:
    try:
        found = parse_yaml(text)
    except ValueError as error:
        raise RankerError(f"{where}: {error}") from None
    if not isinstance(found, dict):
        raise RankerError(f"{where}: expected a mapping with name, dimension, dense and tables")
    try:
        return Specification.model_validate(found)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "the specification"
        raise RankerError(f"{where}: {field}: {first['msg'].removeprefix('Value error, ')}") from None


def banner_specification() -> Specification:
    """The banner's own features, as shipped."""
    return parse_specification((files("ranker") / "banner.yaml").read_text(), "ranker/banner.yaml")


def write_specification(specification: Specification, path: Path) -> None:
    path.write_text(yaml.safe_dump(specification.model_dump(mode="json"), sort_keys=False))


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
