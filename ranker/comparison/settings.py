"""What a comparison may be told by a YAML file: what the models see, and how the networks among them are made."""

from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, model_validator

from data.criteo.layout import CATEGORICAL, DENSE
from data.settings import AtLeastZero, Count, Settings, read_settings
from ranker.errors import RankerError
from ranker.features.numbers import NumberUse, NumberUses, uses_of
from ranker.features.settings import bucket_name
from ranker.features.specification import Dimension
from ranker.training.settings import Changes


class Smoothing(Settings):
    """`prior`: rows of the base rate added to every id. `folds`: parts that the training rows are cut into.

    Attributes:
        prior: rows of the base rate added to every id. folds: parts of the rows; each takes the others' counts.
    """

    prior: AtLeastZero = 12.0
    folds: Annotated[int, Field(ge=2)] = 5


class PreparationSettings(Settings):
    """What the models see.

    Attributes:
        threshold: ids seen fewer times in training share the row for unknown ids.
        integers: as logarithms, as they are, cut into logarithmic buckets that have embeddings, or as logarithms and
            buckets both; of all or by name (unnamed ones are both).
        missing: a dense feature per integer that says whether it is missing.
        target_statistics: three dense features per id: what clicks did on its rows (`statistics.py`).
        pairs: with them, so many pairs of id columns have such features too (`pairs.py`), but at most one per
            `rows_per_pair` training rows: fewer rows cannot tell which pairs say something.
        smoothing: of the statistics.
        dimensions: of embeddings, by id column, where it is not the common one.
        rows_per_pair: training rows that each pair of columns needs.
    """

    threshold: Count = 4
    integers: NumberUses = "both"
    missing: bool = True
    target_statistics: bool = True
    pairs: Annotated[int, Field(ge=0, le=500)] = 40
    rows_per_pair: Count = 2_000
    smoothing: Smoothing = Smoothing()
    dimensions: dict[str, Dimension] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _columns_exist(self) -> Self:
        columns = self.columns
        for name in self.dimensions:
            if name not in columns:
                raise ValueError(f"dimensions: there is no id column {name!r}; expected some of {', '.join(columns)}")
        return self

    @property
    def uses(self) -> dict[str, NumberUse]:
        """What becomes of each of the 13 integers. Raises RankerError where that cannot be."""
        return uses_of(DENSE, self.integers, "both")

    @property
    def bucketed(self) -> list[str]:
        """The integers that have buckets."""
        return [name for name, use in self.uses.items() if use in ("buckets", "both")]

    @property
    def columns(self) -> list[str]:
        """The id columns: the log's, then the buckets."""
        return [*CATEGORICAL, *map(bucket_name, self.bucketed)]


class CompareSettings(PreparationSettings):
    """A whole comparison; the default is `tandem ranker compare` without a file.

    Attributes:
        dimension: of the embeddings, None for the models' own default.
        networks: changes to DLRM, DCN and DCNv2.
        taught: how much of the networks' target is what trees and logistic regression predict (`teaching.py`); 0:
            clicks alone.
    """

    dimension: Dimension | None = None
    networks: Changes = Changes()
    taught: Annotated[float, Field(ge=0, lt=1)] = 0.5


def read_compare_settings(path: Path) -> CompareSettings:
    """Raises RankerError naming the file and the field that is wrong."""
    return read_settings(path, CompareSettings, RankerError)
