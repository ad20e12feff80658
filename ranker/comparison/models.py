"""The models that are compared on Criteo's rows, by name, with the settings that suit so few rows."""

from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ranker.comparison.settings import CompareSettings
from ranker.errors import RankerError
from ranker.evaluation.calibration import Platt
from ranker.features.examples import Examples
from ranker.features.specification import Specification
from ranker.networks.shape import DlrmShape
from ranker.training.settings import MlpSettings, ScheduleSettings, TableSettings, TrainingSettings

DIMENSION = 12
FIRST_ORDER = 4
MEMBERS = 2


class Ranker(Protocol):
    """What is compared. `refit` learns from more rows, with new vocabularies, for as long as `fit` found best."""

    @property
    def platt(self) -> Platt: ...

    def fit(self, train: Examples, validation: Examples, seed: int) -> None: ...

    def refit(self, train: Examples, rows: dict[str, int], seed: int) -> None: ...

    def logits(self, examples: Examples) -> NDArray[np.float64]: ...


DLRM_DEFAULT = TrainingSettings(
    shape=DlrmShape(
        bottom=(128,),
        top=(128, 64),
        dropout=0.3,
        first_order=FIRST_ORDER,
        dense_to_top=True,
        deviation=0.01,
        members=MEMBERS,
    ),
    tables=TableSettings(optimizer="rowwise_adagrad", learning_rate=0.001),
    mlps=MlpSettings(optimizer="adamw", learning_rate=2e-3, weight_decay=1e-2),
    schedule=ScheduleSettings(final_rate=0.02),
    batch=512,
    epochs=6,
    checks=2,
    patience=4,
)
"""How it was found: docs/results/ranker.md."""

DLRM_ALONE = DLRM_DEFAULT.changed(shape=DLRM_DEFAULT.shape.changed(members=1))

_CROSS = DLRM_DEFAULT.changed(
    network="dcn",
    shape=DlrmShape(top=(256, 128), dropout=0.5, cross_layers=3, deviation=0.01),
    mlps=DLRM_DEFAULT.mlps.changed(learning_rate=1e-3),
)


def _network(config: TrainingSettings) -> "Build":
    def build(specification: Specification, rows: dict[str, int], settings: CompareSettings) -> Ranker:
        from ranker.comparison.teaching import TaughtRanker
        from ranker.training.ranker import DlrmRanker

        network = DlrmRanker(specification, rows, settings.networks.of(config, "networks"))
        return TaughtRanker(network, settings.taught) if settings.taught else network

    return build


def _logistic(specification: Specification, rows: dict[str, int], settings: CompareSettings) -> Ranker:
    from ranker.baselines.logistic import LogisticRanker

    return LogisticRanker(specification, rows)


def _trees(specification: Specification, rows: dict[str, int], settings: CompareSettings) -> Ranker:
    from ranker.baselines.trees import TreesRanker

    return TreesRanker(specification, rows)


Build = Callable[[Specification, dict[str, int], CompareSettings], Ranker]

MODELS: dict[str, tuple[str, Build]] = {
    "dlrm": ("DLRM", _network(DLRM_DEFAULT)),
    "dlrm-1": ("DLRM of one member", _network(DLRM_ALONE)),
    "dcn": ("DCN", _network(_CROSS)),
    "dcnv2": ("DCNv2", _network(_CROSS.changed(network="dcnv2"))),
    "trees": ("boosted trees", _trees),
    "logistic": ("logistic regression", _logistic),
}


def settings_of(name: str) -> str:
    """What a model's result depends on beside its name: another setting is another result."""
    return repr({"dlrm": DLRM_DEFAULT, "dlrm-1": DLRM_ALONE}.get(name, (_CROSS, DIMENSION)))


def build_ranker(
    name: str, specification: Specification, rows: dict[str, int], settings: CompareSettings = CompareSettings()
) -> Ranker:
    """A model not yet fitted; the settings change it if it is a network. Raises RankerError for another name."""
    if name not in MODELS:
        raise RankerError(f"there is no model {name!r}; expected one of {', '.join(MODELS)}")
    return MODELS[name][1](specification, rows, settings)
