"""What a training run is asked to do: one YAML file, checked on load; unknown or contradictory fields are errors."""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import Field, model_validator

from ranker.features.settings import FeatureSettings
from ranker.networks.shape import DlrmShape
from ranker.yaml_settings import AtLeastZero, Count, Positive, Share, Strict, checked, read_yaml_mapping

TableOptimizer = Literal["sgd", "adagrad", "rowwise_adagrad"]
MlpOptimizer = Literal["sgd", "adagrad", "adamw"]
NetworkName = Literal["dlrm", "dcn", "dcnv2"]


class ShapeSettings(Strict):
    """The network, as `DlrmShape`; the default is DLRM's own for Kaggle (paper, section 5.1)."""

    bottom: tuple[Count, ...] = (512, 256, 64)
    top: tuple[Count, ...] = (512, 256)
    dropout: Share = 0.0
    batch_norm: bool = False
    activation: Literal["relu", "sigmoid"] = "relu"
    interaction: Literal["dot", "cat"] = "dot"
    itself: bool = False
    first_order: Annotated[int, Field(ge=0)] = 0
    dense_to_top: bool = False
    deviation: Positive = DlrmShape.deviation

    def shape(self) -> DlrmShape:
        return DlrmShape(**self.model_dump())


class TableSettings(Strict):
    """How the embedding tables learn: an optimizer fused into fbgemm's backward pass.

    `weight_decay` is decoupled: after a step the rows that it read, and no others, shrink by learning rate times decay.
    fbgemm has one of its own, which its kernels ignore on CPUs for a table that one feature reads, without a word,
    whatever the optimizer and the mode (measured on fbgemm 1.8.0); it is not used.
    """

    optimizer: TableOptimizer = "sgd"
    learning_rate: Positive = 0.1
    weight_decay: AtLeastZero = 0.0
    epsilon: Positive = 1e-8

    @model_validator(mode="after")
    def _something_is_left(self) -> Self:
        if self.learning_rate * self.weight_decay >= 1:
            raise ValueError(
                f"weight_decay {self.weight_decay:g} at learning_rate {self.learning_rate:g} would leave nothing of a "
                "row; expected their product below 1"
            )
        return self


class MlpSettings(Strict):
    """How everything but the tables learns. `weight_decay` is L2 for sgd and adagrad, decoupled for adamw."""

    optimizer: MlpOptimizer = "sgd"
    learning_rate: Positive = 0.1
    weight_decay: AtLeastZero = 0.0
    epsilon: Positive = 1e-8


class ScheduleSettings(Strict):
    """Linear warm-up over `warmup` steps; polynomial decay to 0 over `decay` steps, from step `decay_start` on.

    `decay` 0 means none: the rate stays. DLRM's own code decays with power 2.
    """

    warmup: Annotated[int, Field(ge=0)] = 0
    decay_start: Annotated[int, Field(ge=0)] = 0
    decay: Annotated[int, Field(ge=0)] = 0
    power: Positive = 2.0

    @model_validator(mode="after")
    def _warm_before_decay(self) -> Self:
        if self.decay and self.decay_start < self.warmup:
            raise ValueError(f"decay_start {self.decay_start} lies within the warm-up of {self.warmup} steps")
        return self


class FitSettings(Strict):
    """A whole run.

    Attributes:
        network: which network. dimension: of the embeddings; by default the folder's specification's.
        features: changes to the folder's specification.
        batch: rows of a step over all processes together. shuffle: in a new order each epoch.
        log_every, evaluate_every, checkpoint_every: steps; 0 means at the end of every epoch only.
        evaluation_batch: rows of an evaluation step. evaluation_rows: evaluate on at most so many validation rows
            while training, spread evenly; the last evaluation takes all.
    """

    network: NetworkName = "dlrm"
    shape: ShapeSettings = ShapeSettings()
    dimension: Annotated[int, Field(ge=4, le=1024, multiple_of=4)] | None = None
    features: FeatureSettings = FeatureSettings()
    tables: TableSettings = TableSettings()
    mlps: MlpSettings = MlpSettings()
    schedule: ScheduleSettings = ScheduleSettings()
    batch: Count = 128
    epochs: Count = 1
    shuffle: bool = True
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    log_every: Count = 100
    evaluate_every: Annotated[int, Field(ge=0)] = 0
    checkpoint_every: Annotated[int, Field(ge=0)] = 0
    evaluation_batch: Count = 16_384
    evaluation_rows: Count | None = None

    def changed(self, **fields: Any) -> Self:
        """A copy with other values, checked like a file's; None leaves a field as it is."""
        given = {name: value for name, value in fields.items() if value is not None}
        return checked(type(self), {**self.model_dump(), **given}, "the options")


def read_settings(path: Path) -> FitSettings:
    """Raises RankerError naming the file and the field that is wrong."""
    return checked(FitSettings, read_yaml_mapping(path), str(path))


def write_settings(settings: FitSettings) -> str:
    """The settings as YAML text, every field of them."""
    return yaml.safe_dump(settings.model_dump(mode="json"), sort_keys=False)
