"""Models by name. A further model is one module and one line in MODELS."""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from candidates.errors import CandidatesError
from candidates.led.presets import PAPER, WIDE
from candidates.models.model import UserItemModel
from candidates.models.saving import saved_model
from data.settings import checked, parse_yaml


@dataclass(frozen=True)
class Entry:
    """Where a model is found: its module and class.

    `preset` holds the settings in which this row differs from the configuration's defaults; `grid` the values of which
    validation users choose, setting by setting in this order.
    """

    module: str
    model: str
    preset: Mapping[str, Any] = field(default_factory=dict)
    grid: Mapping[str, tuple[float, ...]] = field(default_factory=dict)

    def model_type(self) -> type[UserItemModel]:
        found: type[UserItemModel] = getattr(importlib.import_module(self.module), self.model)
        return found


_AUTOENCODER = "candidates.baselines.autoencoder"
_LED = "candidates.led.model"

MODELS: dict[str, Entry] = {
    "popularity": Entry("candidates.baselines.popularity", "Popularity"),
    "ease": Entry("candidates.baselines.ease", "Ease", grid={"l2": (1.0, 5.0, 20.0, 100.0, 500.0, 2000.0)}),
    "slim": Entry("candidates.baselines.slim", "Slim", grid={"l2": (10.0, 50.0, 200.0, 800.0), "l1": (1.0, 5.0)}),
    "ials": Entry(
        "candidates.baselines.ials",
        "Ials",
        grid={"l2": (1.0, 3.0, 10.0, 30.0, 100.0, 300.0), "alpha": (1.0, 2.0, 5.0, 10.0, 20.0)},
    ),
    "elsa": Entry(
        "candidates.baselines.elsa", "Elsa", grid={"learning_rate": (0.005, 0.02, 0.05), "dimension": (256, 512)}
    ),
    "mult-dae": Entry(_AUTOENCODER, "Autoencoder", {"variational": False, "weight_decay": 2e-5}),
    "mult-vae": Entry(_AUTOENCODER, "Autoencoder"),
    "mult-vae-css": Entry(_AUTOENCODER, "Autoencoder", {"loss": "css"}),
    "paper-vae": Entry("candidates.baselines.paper_vae", "PaperVae"),
    "led": Entry(_LED, "Led", WIDE),
    "led-mult": Entry(_LED, "Led", PAPER | {"loss": "multinomial"}),
    "led-css": Entry(_LED, "Led", PAPER | {"loss": "css"}),
    "led-bpr": Entry(_LED, "Led", PAPER | {"loss": "bpr"}),
    "led-ns": Entry(_LED, "Led", PAPER | {"loss": "negative_sampling"}),
}


def build_model(name: str, settings: Mapping[str, Any] | None = None, seed: int = 0) -> UserItemModel:
    """A model not yet fitted.

    Args:
        settings: of its configuration, such as {"l2": 300}; a text is read as YAML: "300" is a number.
        seed: for models that draw at random, unless the settings have one.

    Raises:
        CandidatesError: no such model or setting, or a value that the setting cannot have.
    """
    if name not in MODELS:
        raise CandidatesError(f"there is no model {name!r}; expected one of {', '.join(MODELS)}")
    entry = MODELS[name]
    kind = entry.model_type()
    drawn = {"seed": seed} if "seed" in kind.config_type.model_fields else {}
    given = {key: _value(f"{name}.{key}", value) for key, value in (settings or {}).items()}
    return kind(checked(kind.config_type, {**entry.preset, **drawn, **given}, name, CandidatesError))


def load_model(folder: Path | str) -> UserItemModel:
    """The model that was saved in a folder, whichever of MODELS' classes it is of.

    Raises:
        CandidatesError: no model there, of an unknown kind, or damaged files.
    """
    entries, kind = {one.model: one for one in MODELS.values()}, saved_model(Path(folder)).kind
    if kind not in entries:
        raise CandidatesError(
            f"{folder} holds a model of the kind {kind}; expected one of {', '.join(sorted(entries))}"
        )
    return entries[kind].model_type().load(folder)


def _value(where: str, value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return parse_yaml(value)
    except ValueError as error:
        raise CandidatesError(f"setting {where}: {error}") from None
