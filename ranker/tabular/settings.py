"""What a comparison may be told by a YAML file: what the models see, and how the networks among them are made."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from data.criteo.layout import CATEGORICAL, DENSE
from ranker.feature_settings import bucket_name
from ranker.learning_rates import TrainingConfig
from ranker.numbers import NumberUses, uses_of
from ranker.specification import Dimension
from ranker.tabular.preparation import PreparationConfig
from ranker.yaml_settings import AtLeastZero, Count, Positive, Share, Strict, checked, read_yaml_mapping


class ShapeChanges(Strict):
    """Fields of `DlrmShape`; None leaves a network's own."""

    bottom: tuple[Count, ...] | None = None
    top: tuple[Count, ...] | None = None
    dropout: Share | None = None
    batch_norm: bool | None = None
    activation: Literal["relu", "sigmoid"] | None = None
    interaction: Literal["dot", "cat"] | None = None
    itself: bool | None = None
    first_order: Annotated[int, Field(ge=0)] | None = None
    members: Annotated[int, Field(ge=1, le=32)] | None = None
    dense_to_top: bool | None = None
    deviation: Positive | None = None


class NetworkChanges(Strict):
    """Fields of `TrainingConfig`, for every network of the comparison; None leaves its own."""

    shape: ShapeChanges = ShapeChanges()
    batch: Count | None = None
    epochs: Count | None = None
    checks: Count | None = None
    patience: Count | None = None
    learning_rate: Positive | None = None
    weight_decay: AtLeastZero | None = None
    table_learning_rate: Positive | None = None
    table_optimizer: Literal["rowwise_adagrad", "adagrad"] | None = None
    table_weight_decay: AtLeastZero | None = None
    final_rate: Annotated[float, Field(ge=0, le=1)] | None = None

    def of(self, config: TrainingConfig) -> TrainingConfig:
        """A network's own configuration with these changes."""
        given = self.model_dump(exclude_none=True)
        return replace(config, **{**given, "shape": replace(config.shape, **given.pop("shape"))})


class CompareSettings(Strict):
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
    networks: NetworkChanges = NetworkChanges()

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
    return checked(CompareSettings, read_yaml_mapping(path), str(path))
