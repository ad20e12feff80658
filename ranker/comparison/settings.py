"""What a comparison may be told by a YAML file: what the models see, and how the networks among them are made."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field

from data.criteo.layout import CATEGORICAL, DENSE
from data.criteo.manifest import Manifest
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


@dataclass(frozen=True)
class LogColumns:
    """The names of a log's columns, in the order of its rows: by default Criteo's."""

    numbers: tuple[str, ...] = DENSE
    ids: tuple[str, ...] = CATEGORICAL

    @classmethod
    def of(cls, source: Path) -> Self:
        """Of a converted folder as its manifest says, of a text Criteo's."""
        if not source.is_dir():
            return cls()
        manifest = Manifest.read(source)
        return cls(manifest.dense, manifest.id_names)

    def uses(self, settings: PreparationSettings) -> dict[str, NumberUse]:
        """What becomes of each number. Raises RankerError where that cannot be."""
        return uses_of(self.numbers, settings.integers, "both")

    def bucketed(self, settings: PreparationSettings) -> list[str]:
        """The numbers that have buckets."""
        return [name for name, use in self.uses(settings).items() if use in ("buckets", "both")]

    def tables(self, settings: PreparationSettings) -> list[str]:
        """The id columns: the log's, then the buckets. Raises RankerError where `dimensions` names another."""
        found = [*self.ids, *map(bucket_name, self.bucketed(settings))]
        for name in settings.dimensions:
            if name not in found:
                raise RankerError(f"dimensions: there is no id column {name!r}; expected some of {', '.join(found)}")
        return found


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


def read_compare_settings(path: Path, names: LogColumns = LogColumns()) -> CompareSettings:
    """Settings for a log of these columns. Raises RankerError naming the file and the field that is wrong."""
    settings = read_settings(path, CompareSettings, RankerError)
    try:
        names.tables(settings)
    except RankerError as error:
        raise RankerError(f"{path}: {error}") from None
    return settings
