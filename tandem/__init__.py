"""Tandem from Python: the public names, each loaded when it is first used, so that `import tandem` costs milliseconds.

Models of a user-item matrix, all with `fit`, `recommend`, `similar_items`, `item_vectors`, `save` and `load`; `Bundle`,
what the gateway serves, asked without a gateway; `GatewayClient`; `train` and `report`, as the commands of that name.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from tandem.packages import bind

if TYPE_CHECKING:
    from candidates.baselines.autoencoder import Autoencoder as Autoencoder
    from candidates.baselines.autoencoder import AutoencoderConfig as AutoencoderConfig
    from candidates.baselines.ease import Ease as Ease
    from candidates.baselines.ease import EaseConfig as EaseConfig
    from candidates.baselines.elsa import Elsa as Elsa
    from candidates.baselines.elsa import ElsaConfig as ElsaConfig
    from candidates.baselines.ials import Ials as Ials
    from candidates.baselines.ials import IalsConfig as IalsConfig
    from candidates.baselines.popularity import Popularity as Popularity
    from candidates.baselines.slim import Slim as Slim
    from candidates.baselines.slim import SlimConfig as SlimConfig
    from candidates.benchmarks.registry import load_model as load_model
    from candidates.config import LedConfig as LedConfig
    from candidates.led.model import Led as Led
    from candidates.models.ranking import Ranked as Ranked
    from candidates.protocols.interactions import Interactions as Interactions
    from candidates.protocols.interactions import read_interactions as read_interactions
    from candidates.protocols.metrics import Measures as Measures
    from candidates.protocols.metrics import evaluate as evaluate
    from candidates.protocols.splits import HeldOutUsers as HeldOutUsers
    from candidates.protocols.splits import strong_generalisation as strong_generalisation
    from data.errors import TandemError as TandemError
    from data.workspace import Workspace as Workspace
    from gateway.client import GatewayClient as GatewayClient
    from gateway.client import history_of as history_of
    from gateway.client import pb as pb
    from pipeline.settings import TrainingPlan as TrainingPlan
    from tandem.bundle import Bundle as Bundle
    from tandem.bundle import ItemVectors as ItemVectors
    from tandem.bundle import Recommended as Recommended
    from tandem.bundle import UserHistory as UserHistory
    from tandem.workspaces import interactions as interactions
    from tandem.workspaces import read_catalog as read_catalog
    from tandem.workspaces import read_events as read_events
    from tandem.workspaces import train as train

_HOMES = {
    "Autoencoder": "candidates.baselines.autoencoder",
    "AutoencoderConfig": "candidates.baselines.autoencoder",
    "Bundle": "tandem.bundle",
    "Ease": "candidates.baselines.ease",
    "EaseConfig": "candidates.baselines.ease",
    "Elsa": "candidates.baselines.elsa",
    "ElsaConfig": "candidates.baselines.elsa",
    "GatewayClient": "gateway.client",
    "HeldOutUsers": "candidates.protocols.splits",
    "Ials": "candidates.baselines.ials",
    "IalsConfig": "candidates.baselines.ials",
    "Interactions": "candidates.protocols.interactions",
    "ItemVectors": "tandem.bundle",
    "Led": "candidates.led.model",
    "LedConfig": "candidates.config",
    "Measures": "candidates.protocols.metrics",
    "Popularity": "candidates.baselines.popularity",
    "Ranked": "candidates.models.ranking",
    "Recommended": "tandem.bundle",
    "Slim": "candidates.baselines.slim",
    "SlimConfig": "candidates.baselines.slim",
    "TandemError": "data.errors",
    "TrainingPlan": "pipeline.settings",
    "UserHistory": "tandem.bundle",
    "Workspace": "data.workspace",
    "evaluate": "candidates.protocols.metrics",
    "history_of": "gateway.client",
    "interactions": "tandem.workspaces",
    "load_model": "candidates.benchmarks.registry",
    "pb": "gateway.client",
    "read_catalog": "tandem.workspaces",
    "read_events": "tandem.workspaces",
    "read_interactions": "candidates.protocols.interactions",
    "strong_generalisation": "candidates.protocols.splits",
    "train": "tandem.workspaces",
}
__all__ = sorted(_HOMES)

bind()


def __getattr__(name: str) -> Any:
    home = "tandem.cli" if name == "main" else _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'tandem' has no attribute {name!r}; it has {', '.join(__all__)}")
    found = getattr(import_module(home), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return __all__
