"""What a comparison may be told by a YAML file: what the models see, and how the networks among them are made."""

from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, model_validator

from data.criteo.layout import CATEGORICAL, DENSE
from data.settings import Count, Settings, read_settings
from ranker.comparison.preparation import PreparationConfig
from ranker.errors import RankerError
from ranker.features.numbers import NumberUses, uses_of
from ranker.features.settings import bucket_name
from ranker.features.specification import Dimension
from ranker.training.settings import Changes


class CompareSettings(Settings):
    """A whole comparison; the default is `tandem ranker compare` without a file.

    Attributes:
        threshold, integers, missing, target_statistics, pairs: as `PreparationConfig`.
        dimension: of the embeddings, None for the models' own default. dimensions: by id column, where it is another.
        networks: changes to DLRM, DCN and DCNv2.
    """

    threshold: Count = 4
    integers: NumberUses = "both"
    missing: bool = True
    target_statistics: bool = True
    pairs: Annotated[int, Field(ge=0, le=500)] = 40
    dimension: Dimension | None = None
    dimensions: dict[str, Dimension] = Field(default_factory=dict)
    networks: Changes = Changes()

    @model_validator(mode="after")
    def _columns_exist(self) -> Self:
        uses = uses_of(DENSE, self.integers, "both")
        columns = [*CATEGORICAL, *(bucket_name(name) for name, use in uses.items() if use in ("both", "buckets"))]
        for name in self.dimensions:
            if name not in columns:
                raise ValueError(f"dimensions: there is no id column {name!r}; expected some of {', '.join(columns)}")
        return self

    def preparation(self) -> PreparationConfig:
        return PreparationConfig(
            threshold=self.threshold,
            integers=self.integers,
            missing=self.missing,
            target_statistics=self.target_statistics,
            pairs=self.pairs,
            dimensions=self.dimensions,
        )


def read_compare_settings(path: Path) -> CompareSettings:
    """Raises RankerError naming the file and the field that is wrong."""
    return read_settings(path, CompareSettings, RankerError)
