"""Changes to how a network is made and trained, as a YAML file names them."""

from dataclasses import replace
from typing import Annotated, Literal

from pydantic import Field

from ranker.training.learning_rates import TrainingConfig
from ranker.yaml_settings import AtLeastZero, Count, Positive, Share, Strict


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
