"""Which features a ranker reads: a YAML file, checked on load.

A categorical feature reads a table. Row 0 of every table stands for "missing" and row 1 for "out of vocabulary":
unknown ids, and ids seen fewer than `threshold` times in training. An id of the vocabulary has a row of its own.
"""

from importlib.resources import files
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from data.settings import Settings, dump_settings, parse_settings, read_settings
from ranker.errors import RankerError

MISSING_ROW = 0
UNKNOWN_ROW = 1
RESERVED_ROWS = 2


Dimension = Annotated[int, Field(ge=4, le=1024, multiple_of=4)]
"""Of an embedding; fbgemm's kernels want a multiple of 4."""


class Feature(Settings):
    name: str


class TableFeature(Feature):
    """Features that name the same table share its rows and its vocabulary.

    Attributes:
        name: of the column.
    """

    table: str


class Dense(Feature):
    """A number. `log` asks a loader of raw columns for sign(x) log(1 + |x|); the banner's come transformed."""

    log: bool = False


class Categorical(TableFeature):
    """A single id. `buckets_of` names a column of numbers whose logarithmic buckets are the ids (`numbers`)."""

    buckets_of: str | None = None


class Bag(TableFeature):
    """Up to `length` ids of a request, whose embeddings are averaged or added up (a multi-hot feature).

    With weights a_k the sum is that of a_k w_k (DLRM paper, equation 2; Caffe2's SparseLengthsWeightedSum), the mean
    that sum over the sum of a_k. The weights are those that come with the rows (`weighted`), or fall with age: 1 of the
    newest id, `decay` of the one before it, `decay` ** 2 of the next.
    """

    length: Annotated[int, Field(ge=1, le=1000)]
    pooling: Literal["mean", "sum"] = "mean"
    decay: Annotated[float, Field(gt=0, le=1)] = 1.0
    weighted: bool = False

    @model_validator(mode="after")
    def _one_origin_of_weights(self) -> "Bag":
        if self.weighted and self.decay != 1:
            raise ValueError(f"{self.name}: weights come with the rows or fall with age; expected one of the two")
        return self


class Table(Settings):
    """An embedding table: ids seen fewer than `threshold` times share one row; at most `limit` ids, commonest first.

    `dimension`: of this table's embeddings, at most the specification's, which is the default. DLRM projects shorter
    embeddings to the common dimension by a learnt matrix (mixed dimensions: Ginart et al., arXiv 1909.11810).
    """

    threshold: Annotated[int, Field(ge=1)] = 1
    limit: Annotated[int, Field(ge=0)] = 10_000_000
    dimension: Dimension | None = None


class Specification(Settings):
    """A whole feature specification.

    Attributes:
        dimension: of the embeddings as they interact; a table may have a smaller one of its own.
        dense, request, item, bags: features in the order of the model's inputs. `request` features have one value per
            request, `item` features one per candidate; a table of plain rows (Criteo) lists everything under `item`.
        tables: by name.
        positions: slots whose position has a bias of its own, an additive term of the logit; 0 for none.
        name: of the whole, for people.
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
    def weighs(self) -> bool:
        """Whether some bag has weights beside those of a plain sum or mean."""
        return any(bag.weighted or bag.decay != 1 for bag in self.bags)

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
    return read_settings(path, Specification, RankerError)


def parse_specification(text: str, where: str) -> Specification:
    """As `read_specification`; `where` names the text."""
    return parse_settings(text, Specification, where, RankerError)


def banner_specification() -> Specification:
    """The banner's own features, as shipped."""
    return parse_specification((files("ranker") / "banner.yaml").read_text(), "ranker/banner.yaml")


def write_specification(specification: Specification, path: Path) -> None:
    path.write_text(dump_settings(specification))
