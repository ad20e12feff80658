"""Reference models by name. A further model is one module and one line in MODELS."""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, get_type_hints

from candidates.errors import CandidatesError
from candidates.models.model import UserItemModel


@dataclass(frozen=True)
class Entry:
    """Where a model is found: a module with the model's class and its configuration, a frozen dataclass.

    `preset` holds the settings in which this row differs from the configuration's defaults.
    """

    module: str
    model: str
    config: str
    preset: Mapping[str, Any] = field(default_factory=dict)


_PAPER_LED = "candidates.led.paper"

MODELS: dict[str, Entry] = {
    "popularity": Entry("candidates.baselines.popularity", "Popularity", "PopularityConfig"),
    "ease": Entry("candidates.baselines.ease", "Ease", "EaseConfig"),
    "slim": Entry("candidates.baselines.slim", "Slim", "SlimConfig"),
    "ials": Entry("candidates.baselines.ials", "Ials", "IalsConfig"),
    "elsa": Entry("candidates.baselines.elsa", "Elsa", "ElsaConfig"),
    "mult-dae": Entry(
        "candidates.baselines.autoencoder",
        "Autoencoder",
        "AutoencoderConfig",
        {"variational": False, "weight_decay": 2e-5},
    ),
    "mult-vae": Entry("candidates.baselines.autoencoder", "Autoencoder", "AutoencoderConfig"),
    "mult-vae-css": Entry("candidates.baselines.autoencoder", "Autoencoder", "AutoencoderConfig", {"loss": "css"}),
    "paper-vae": Entry("candidates.baselines.paper_vae", "PaperVae", "PaperVaeConfig"),
    "led": Entry("candidates.led.spectral_model", "Led", "LedConfig"),
    "led-mult": Entry(_PAPER_LED, "PaperLed", "PaperLedConfig", {"loss": "multinomial"}),
    "led-css": Entry(_PAPER_LED, "PaperLed", "PaperLedConfig", {"loss": "css"}),
    "led-bpr": Entry(_PAPER_LED, "PaperLed", "PaperLedConfig", {"loss": "bpr"}),
    "led-ns": Entry(_PAPER_LED, "PaperLed", "PaperLedConfig", {"loss": "negative_sampling"}),
}


def build_model(name: str, settings: Mapping[str, str] | None = None, seed: int = 0) -> UserItemModel:
    """A model not yet fitted.

    Args:
        settings: texts for fields of its configuration, such as {"l2": "300"}.
        seed: for models that draw at random, unless the settings have one.

    Raises:
        CandidatesError: no such model or setting, or a text that is not of the setting's type.
    """
    if name not in MODELS:
        raise CandidatesError(f"there is no model {name!r}; expected one of {', '.join(MODELS)}")
    entry = MODELS[name]
    module = importlib.import_module(entry.module)
    config = getattr(module, entry.config)(**entry.preset)
    types = get_type_hints(type(config))
    known = [one.name for one in fields(config)]
    changes: dict[str, Any] = {"seed": seed} if "seed" in known else {}
    for key, text in (settings or {}).items():
        if key not in known:
            raise CandidatesError(f"model {name} has no setting {key!r}; expected one of {', '.join(known) or 'none'}")
        changes[key] = _value(f"{name}.{key}", types[key], text)
    if changes.get("seed", 0) < 0:
        raise CandidatesError(f"setting {name}.seed is {changes['seed']}; expected at least 0")
    return getattr(module, entry.model)(replace(config, **changes))


def _value(where: str, kind: Any, text: str) -> Any:
    """A setting's text as its type: whole number, number, yes or no, text."""
    if kind is bool:
        if text.lower() not in ("true", "false"):
            raise CandidatesError(f"setting {where} is {text!r}; expected true or false")
        return text.lower() == "true"
    if kind not in (int, float):
        return text
    try:
        return kind(text)
    except ValueError:
        expected = "a whole number" if kind is int else "a number"
        raise CandidatesError(f"setting {where} is {text!r}; expected {expected}") from None
