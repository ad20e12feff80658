"""How a network is made and trained: one class of settings for every command that trains one, read from YAML.

A command has its own defaults (`KAGGLE` of `tandem ranker fit`, `BANNER` of `tandem ranker train`, those of
`tandem ranker compare`); its YAML file holds `Changes` to them.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import BaseModel, Field, create_model, model_validator

from data.settings import AtLeastZero, Count, Positive, Seed, Settings, checked, read_settings
from ranker.errors import RankerError
from ranker.features.settings import FeatureSettings
from ranker.features.specification import Dimension
from ranker.networks.shape import BANNER_SHAPE, DlrmShape

TableOptimizer = Literal["sgd", "adagrad", "rowwise_adagrad"]
MlpOptimizer = Literal["sgd", "adagrad", "adamw"]
NetworkName = Literal["dlrm", "dcn", "dcnv2"]


_FORMER = {
    "learning_rate": ("mlps", "learning_rate"),
    "weight_decay": ("mlps", "weight_decay"),
    "table_learning_rate": ("tables", "learning_rate"),
    "table_optimizer": ("tables", "optimizer"),
    "table_weight_decay": ("tables", "weight_decay"),
    "final_rate": ("schedule", "final_rate"),
}


def _of_today(found: Mapping[str, Any]) -> dict[str, Any]:
    """Rankers and YAML files of before name the rates of MLPs (AdamW) and tables side by side."""
    today = {name: value for name, value in found.items() if name not in _FORMER and name != "threads"}
    for name in _FORMER.keys() & found.keys():
        group, field = _FORMER[name]
        if found[name] is not None and isinstance(today.get(group) or {}, (Mapping, BaseModel)):
            implied = {"optimizer": "adamw"} if group == "mlps" else {}
            today[group] = implied | dict(today.get(group) or {}) | {field: found[name]}
    return today


class TableSettings(Settings):
    """How the embedding tables learn: an optimizer fused into fbgemm's backward pass.

    `weight_decay` is decoupled: after a step the rows that it read, and no others, shrink by learning rate times decay
    (`table_decay`). fbgemm has one of its own, which its kernels ignore on CPUs for a table that one feature reads,
    without a word, whatever the optimizer and the mode (measured on fbgemm 1.8.0); it is not used.

    Attributes:
        optimizer: fused into the backward pass. learning_rate: of the rows that a step read.
        weight_decay: decoupled, of those rows. epsilon: of Adagrad's denominator.
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


class MlpSettings(Settings):
    """How everything but the tables learns.

    `weight_decay` is L2 for sgd and adagrad, decoupled for adamw; biases, norms and the position bias do not decay.

    Attributes:
        optimizer: of every weight outside the tables. learning_rate: its first value, before the schedule.
        weight_decay: L2 or decoupled, as above. epsilon: of the denominator of adagrad and adamw.
    """

    optimizer: MlpOptimizer = "sgd"
    learning_rate: Positive = 0.1
    weight_decay: AtLeastZero = 0.0
    epsilon: Positive = 1e-8


class ScheduleSettings(Settings):
    """Linear warm-up over `warmup` steps; polynomial decay to 0 over `decay` steps, from step `decay_start` on.

    `decay` 0 means none: the rate stays. DLRM's own code decays with power 2. `final_rate`: beside that, the rates fall
    linearly to this share of themselves at the end of the last epoch.

    Attributes:
        warmup: steps. decay_start: the step at which decay begins. decay: steps of it.
        power: of the polynomial. final_rate: share of the rates left at the end of the last epoch.
    """

    warmup: Annotated[int, Field(ge=0)] = 0
    decay_start: Annotated[int, Field(ge=0)] = 0
    decay: Annotated[int, Field(ge=0)] = 0
    power: Positive = 2.0
    final_rate: Annotated[float, Field(ge=0, le=1)] = 1.0

    @model_validator(mode="after")
    def _warm_before_decay(self) -> Self:
        if self.decay and self.decay_start < self.warmup:
            raise ValueError(f"decay_start {self.decay_start} lies within the warm-up of {self.warmup} steps")
        return self


class TrainingSettings(Settings):
    """A whole training. The defaults are DLRM's own for Criteo Kaggle.

    Attributes:
        network: which network. dimension: of the embeddings; by default the specification's of the rows.
        features: changes to that specification.
        batch: rows of a step over all processes together. shuffle: in a new order each epoch.
        checks: validations per epoch. patience: validations without a better log loss before training stops, and the
            best weights are kept; None: train to the end and keep the last ones.
        log_every, evaluate_every, checkpoint_every: steps; 0 means at the end of every epoch (or its checks) only.
        checkpoint_minutes: beside that a checkpoint, at the next log line, when the last one is so old; 0: none.
        evaluation_batch: rows of an evaluation step. evaluation_rows: evaluate on at most so many validation rows
            while training, spread evenly; the last evaluation takes all.
        epochs: at most. seed: of the first weights and the order of the rows.
    """

    network: NetworkName = "dlrm"
    shape: DlrmShape = DlrmShape()
    dimension: Dimension | None = None
    features: FeatureSettings = FeatureSettings()
    tables: TableSettings = TableSettings()
    mlps: MlpSettings = MlpSettings()
    schedule: ScheduleSettings = ScheduleSettings()
    batch: Count = 128
    epochs: Count = 1
    checks: Count = 1
    patience: Count | None = None
    shuffle: bool = True
    seed: Seed = 0
    log_every: Count = 100
    evaluate_every: Annotated[int, Field(ge=0)] = 0
    checkpoint_every: Annotated[int, Field(ge=0)] = 0
    checkpoint_minutes: AtLeastZero = 10.0
    evaluation_batch: Count = 16_384
    evaluation_rows: Count | None = None

    @model_validator(mode="before")
    @classmethod
    def _names_of_today(cls, found: Any) -> Any:
        return _of_today(found) if isinstance(found, Mapping) else found


KAGGLE = TrainingSettings()
"""Of `tandem ranker fit`."""

BANNER = TrainingSettings(
    shape=BANNER_SHAPE,
    tables=TableSettings(optimizer="rowwise_adagrad", learning_rate=0.02),
    mlps=MlpSettings(optimizer="adamw", learning_rate=1e-3, weight_decay=1e-2),
    batch=512,
    epochs=8,
    checks=2,
    patience=4,
)
"""Of the banner's ranker."""


def _optional(model: type[BaseModel]) -> Any:
    """The same settings, each of which may be left out, or null, to leave what is changed as it is.

    A field that may be null by itself is null then.
    """
    fields: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        kind: Any = field.annotation
        inner = _optional(kind) if isinstance(kind, type) and issubclass(kind, BaseModel) else kind
        fields[name] = (Annotated[inner | None, *field.metadata] if field.metadata else inner | None, None)
    return create_model(f"{model.__name__}Changes", __base__=Settings, __doc__=model.__doc__, **fields)


class Changes(_optional(TrainingSettings)):  # type: ignore[misc]
    """What a YAML file says of `TrainingSettings`: any of its fields; what is not named stays as it is."""

    @model_validator(mode="before")
    @classmethod
    def _names_of_today(cls, found: Any) -> Any:
        return _of_today(found) if isinstance(found, Mapping) else found

    def of(self, settings: TrainingSettings, where: str = "settings") -> TrainingSettings:
        """The settings with these changes. Raises RankerError if they contradict each other."""
        return checked(TrainingSettings, _merged(settings, self), where, RankerError)


def _merged(settings: BaseModel, changes: BaseModel) -> dict[str, Any]:
    found = settings.model_dump()
    for name in changes.model_fields_set:
        new, old = getattr(changes, name), getattr(settings, name)
        if new is not None or type(None) in get_args(type(settings).model_fields[name].annotation):
            found[name] = _merged(old, new) if isinstance(old, BaseModel) and isinstance(new, BaseModel) else new
    return found


def read_training(path: Path, defaults: TrainingSettings = KAGGLE) -> TrainingSettings:
    """Settings from a YAML file of changes. Raises RankerError naming the file and the field that is wrong."""
    return read_settings(path, Changes, RankerError).of(defaults, str(path))
